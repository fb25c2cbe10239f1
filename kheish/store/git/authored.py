"""Commits of memory files, each with its author: the agent or the user that changed them.

The contents come with the cut, not from the work tree, which a user may have edited since: that edit has an author of
its own. What a user had saved before an agent's change, and no commit holds yet, is committed first, as an edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kheish.store.git import staging
from kheish.store.git.commit_messages import edit_message
from kheish.store.git.repo import Blob, Repo
from kheish.store.pipes import unpack

_PLAIN = 0o100644
Changes = dict[str, Blob | None]


def commit(
    repo: Repo, changes: Sequence[Mapping[str, Any]], top: str | None, tree: str | None
) -> tuple[str | None, str | None, Changes]:
    """Commit changes `{author, message, before, contents}` in order, on `top` with `tree`.

    Return the newest commit, its tree, and the changed paths. An author of None is the user, by git's own identity.
    """
    final: Changes = {path: _blob(repo, raw) for one in changes for path, raw in one["contents"].items()}
    left_out = set(staging.left_out(repo.root, [path for path in final if _at(repo, top, path) is not None]))
    final = {path: blob for path, blob in final.items() if path not in left_out}
    for one in changes:
        kept = {path: raw for path, raw in one["before"].items() if path not in left_out}
        lost: Changes = {path: blob for path, raw in kept.items()
                if _at(repo, top, path) != _id(blob := _blob(repo, raw)) and blob is not None}  # fmt: skip
        if lost:
            top, tree = _commit(repo, top, tree, lost, edit_message(list(lost)), repo.person())
        made = {path: _blob(repo, raw) for path, raw in one["contents"].items() if path not in left_out}
        author = tuple(one["author"]) if one["author"] is not None else repo.person()
        top, tree = _commit(repo, top, tree, made, one["message"], author)
    return top, tree, final


def _commit(
    repo: Repo, top: str | None, tree: str | None, changes: Changes, message: str, author: tuple[str, str]
) -> tuple[str | None, str | None]:
    new_tree = repo.write_tree(tree, changes)
    if new_tree == tree:
        return top, tree
    return repo.commit(new_tree, [top] if top is not None else [], message, author=author), new_tree


def _blob(repo: Repo, raw: Any) -> Blob | None:
    return None if raw is None else Blob(repo.blob(unpack(raw)), _PLAIN)


def _at(repo: Repo, commit: str | None, path: str) -> str | None:
    return _id(repo.find(commit, path)) if commit is not None else None


def _id(blob: Blob | None) -> str | None:
    return blob.id if blob is not None else None
