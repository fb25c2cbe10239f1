"""Repair after losses: restores objects of the daemon's last commit that git has lost (`git gc --prune=now`, a power
cut) from the files, and lost files from git."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kheish.errors import FileRefused
from kheish.store import files, names as naming
from kheish.store.git import cuts, hold
from kheish.store.git.repo import Repo
from kheish.store.git.staging import Index
from kheish.store.log import outage


def missing(repo: Repo, commit: str) -> Iterator[tuple[str, str, str]]:
    """Yield `(kind, path, id)` of every missing blob and tree of a commit; a missing folder hides its content."""
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
    """Set damaged objects aside, and call `mend` if there are any. Raises OSError."""
    return mend(root, Index(root)) if outage.put_aside(root) else None


def mend(root: Path, index: Index) -> tuple[list[str], list[str]]:
    """Verify the daemon's last commit. Return the paths whose objects were rewritten, and the paths that stay lost."""
    repo = Repo(root)  # reopened: its packs may have changed
    commit = repo.refs.last() or repo.refs.head()
    objects = list(missing(repo, commit)) if commit is not None else []
    if not objects:
        return [], []
    for path, id in [*index.entries(), *((path, id) for kind, path, id in objects if kind == "blob")]:
        if not repo.has(id):
            _write_again(repo, root, path, id)
    index.trees()  # git makes a tree only of existing objects
    repo.reopen()
    assert commit is not None
    remaining = list(missing(repo, commit))
    for _, path, id in remaining:  # the contents of a missing folder
        _write_again(repo, root, path, id)
    repo.sync()
    lost = [path for _, path, _ in missing(repo, commit)]
    return sorted({path for _, path, _ in (*objects, *remaining)} - set(lost)), lost


def _write_again(repo: Repo, root: Path, path: str, id: str) -> None:
    """Store the blob that the file holds, or held (a journal may have grown since)."""
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
    """Undo the damage of an outage to the daemon's files that are read before the first scan, which finds the rest."""
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
    """Remove a file that git has but the last commit lacks. Either its removal was lost, or its commit was never made
    (the next commit has it then)."""
    there = files.there(repo.root, path)
    if there is not None and repo.find(last, path) is None and repo.has(files.blob_id(there)):
        files.remove(repo.root, path)


def _make_whole(repo: Repo, last: str, path: str) -> None:
    """Rewrite a pending file of which only a part is left: that is not a user's answer."""
    found, target = repo.find(last, path), naming.within(repo.root, path)
    content = repo.content(found.id) if found is not None and repo.has(found.id) else b""
    there = files.there(repo.root, path)
    if content and there is not None and (b"\0" in there or content.startswith(there)):
        files.atomic_write(target, content, fsync=True)
