"""Bounded reading of objects that others may have pushed; each object is read once.

A user with the right to push to a remote can make objects of any kind. A tree of 64 KB that names itself ten times over
stands for a million files; a tag or a commit may have a gigabyte of text. Objects beyond any real use are refused by
the size in their header, before they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from kheish.errors import Invalid
from kheish.store.git.repo import Repo, size_of

MOST_FILES = 50_000
#: fetched data is packed, and may unpack to any size
MOST_BYTES = 256 * 1024**2
#: nesting of folders: no system has longer paths
MOST_DEPTH = 200
#: commits that a remote may bring at once
MOST_COMMITS = 50_000
#: bytes of a folder's list
_MOST_TREE = 16 * 1024**2


def files(repo: Repo, rev: str, path: str) -> dict[str, str]:
    """Return the blobs of all files in a folder of a commit, by path. Raises NotFound, Invalid (too large)."""
    top = repo.entry(rev, path)
    if top.type_str == "blob":
        return {path: str(top.id)}
    blobs: dict[str, str] = {}
    left, open_folders = MOST_FILES, [(path, str(top.id), 1)]
    while open_folders:
        where, tree, depth = open_folders.pop()
        if depth > MOST_DEPTH:
            raise Invalid(f"{path} has folders nested more than {MOST_DEPTH} deep.")
        for name, kind, id in listing(repo, tree):
            left -= 1
            if left < 0:
                raise Invalid(f"{path} has more than {MOST_FILES} files and folders.")
            if kind == "tree":
                open_folders.append((f"{where}/{name}", id, depth + 1))
            elif kind == "blob":
                blobs[f"{where}/{name}"] = id
    return dict(sorted(blobs.items()))


def listing(repo: Repo, tree: str) -> Iterator[tuple[str, str, str]]:
    """Return `(name, kind, id)` of the entries of a folder. Raises Invalid if it has too many."""
    if size_of(repo, tree) > _MOST_TREE:
        raise Invalid(f"The list of a folder has more than {_MOST_TREE // 1024**2} MiB.")
    yield from repo.listing(tree)


def digests(repo: Repo, blobs: dict[str, str]) -> dict[str, str]:
    """Return the sha256 of files by path. A blob with many names is read once. Raises Invalid."""
    distinct = set(blobs.values())
    if sum(size_of(repo, blob) for blob in distinct) > MOST_BYTES:
        raise Invalid(f"The files have more than {MOST_BYTES // 1024**2} MiB.")
    known = {blob: hashlib.sha256(repo.content(blob)).hexdigest() for blob in distinct}
    return {path: known[blob] for path, blob in blobs.items()}
