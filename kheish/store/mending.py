"""Finds what of the daemon's last commit git has lost (`git gc --prune=now`), and brings it back from the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kheish.store import files
from kheish.store.repo import Repo
from kheish.store.staging import Index


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
        content = (root / path).read_bytes()
    except OSError:
        return
    end = len(content)
    while end:
        if files.blob_id(content[:end]) == id:
            repo.blob(content[:end])
            return
        end = content.rfind(b"\n", 0, end - 1) + 1 if path.endswith(".jsonl") else 0
