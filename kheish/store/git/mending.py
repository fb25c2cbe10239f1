"""Finds what of the daemon's last commit git has lost (`git gc --prune=now`, a power cut), and brings it back from the
files; and what files have lost, from git."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kheish.errors import FileRefused
from kheish.store import files
from kheish.store import names as naming
from kheish.store.git import cuts, hold
from kheish.store.git.repo import Repo
from kheish.store.git.staging import Index
from kheish.store.log import outage


def missing(repo: Repo, commit: str) -> Iterator[tuple[str, str, str]]:
    """`(kind, path, id)` of every blob and tree of a commit that is not there; folders that are gone hide theirs."""
    root = repo.tree_of(commit)
    waiting = [("", root)] if root is not None else []
    while waiting:
        folder, tree = waiting.pop()
        try:
            entries = repo.listing(tree)
        except KeyError:
            yield "tree", folder, tree
            continue
        for name, kind, id in entries:
            path = f"{folder}/{name}" if folder else name
            if kind == "tree":
                waiting.append((path, id))
            elif not repo.has(id):
                yield "blob", path, id


def repair(root: Path) -> tuple[list[str], list[str]] | None:
    """Put damaged objects aside and `mend`, where there are any. Raises OSError."""
    return mend(root, Index(root)) if outage.put_aside(root) else None


def mend(root: Path, index: Index) -> tuple[list[str], list[str]]:
    """Verify the daemon's last commit; returns paths whose objects were written again, and those that stay lost."""
    repo = Repo(root)  # a fresh one: the packs may be others now
    commit = repo.refs.last() or repo.refs.head()
    found = list(missing(repo, commit)) if commit is not None else []
    if not found:
        return [], []
    for path, id in [*index.entries(), *((path, id) for kind, path, id in found if kind == "blob")]:
        if not repo.has(id):
            _write_again(repo, root, path, id)
    index.trees()  # git makes a tree only of what is there
    repo.reopen()
    assert commit is not None
    left = list(missing(repo, commit))
    for _, path, id in left:  # what stood under a folder that was gone
        _write_again(repo, root, path, id)
    repo.sync()
    lost = [path for _, path, _ in missing(repo, commit)]
    return sorted({path for _, path, _ in (*found, *left)} - set(lost)), lost


def _write_again(repo: Repo, root: Path, path: str, id: str) -> None:
    """Store the blob that the file holds, or (a journal that has grown since) held."""
    try:
        content = files.there(root, path) or b""
    except (OSError, FileRefused):
        return
    end = len(content)
    while end:
        if files.blob_id(content[:end]) == id:
            repo.blob(content[:end])
            return
        end = content.rfind(b"\n", 0, end - 1) + 1 if path.endswith(".jsonl") else 0


def names(repo: Repo, index: Index) -> None:
    """Undo what an outage did to the daemon's files: for what is read before the first look, which finds the rest."""
    last = repo.refs.last()
    if last is None:
        return
    with contextlib.suppress(hold.Held):
        index.distrust()
    for path in filter(hold.owned, index.untracked()):
        _take_away_again(repo, last, path)
    changed = sorted(set(filter(hold.owned, (*index.staged(last), *index.changed_files()))))
    cuts.put_back(repo, [path for path in changed if not naming.within(repo.root, path).exists()])
    for path in changed:
        if path.startswith("pending/"):
            _make_whole(repo, last, path)


def _take_away_again(repo: Repo, last: str, path: str) -> None:
    """Remove a file that the last commit has not, and that git has: its removal was lost, or a commit never came (the
    next has it then)."""
    there = files.there(repo.root, path)
    if there is not None and repo.find(last, path) is None and repo.has(files.blob_id(there)):
        files.remove(repo.root, path)


def _make_whole(repo: Repo, last: str, path: str) -> None:
    """Write a pending file again of which a part is left: that is no answer of a person."""
    found, target = repo.find(last, path), naming.within(repo.root, path)
    content = repo.content(found.id) if found is not None and repo.has(found.id) else b""
    there = files.there(repo.root, path)
    if content and there is not None and (b"\0" in there or content.startswith(there)):
        files.atomic_write(target, content, fsync=True)
