"""A second name for each spilled payload until a commit has it, where `git clean` and `git stash -u` do not reach."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from kheish.store import files

FOLDER = ".git/kheish/spill"


def second(root: Path, path: str) -> Path:
    """Where the second name of a payload (its path relative to the root) is."""
    return root / FOLDER / quote(path, safe="")


def place(root: Path, path: str, content: bytes, *, fsync: bool) -> None:
    """Write a payload under both of its names. Raises OSError.

    The second name comes first: wherever a kill falls, what is in the tree and in no entry is found by it (`sweep`).
    """
    kept, target = second(root, path), root / path
    kept.parent.mkdir(parents=True, exist_ok=True)
    made = [folder for folder in (target.parent, *target.parents) if not folder.exists()]
    if not kept.exists():
        if target.exists():  # content-addressed: the same bytes
            os.link(target, kept)
        else:
            _write(kept, content, fsync=fsync)
        if fsync:
            files.fsync_folder(kept.parent)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(kept, target)
    if fsync:
        for folder in (target.parent, *(new.parent for new in made)):
            files.fsync_folder(folder)


def _write(path: Path, content: bytes, *, fsync: bool) -> None:
    """A short name meanwhile: that of the payload may be as long as names can be."""
    temporary = path.with_name(f".{os.urandom(8).hex()}")
    with temporary.open("xb") as file:
        file.write(content)
        file.flush()
        if fsync:
            os.fsync(file.fileno())
    temporary.replace(path)


def sweep(root: Path, named: Collection[str], is_committed: Callable[[str], bool]) -> list[str]:
    """Remove payloads that were written for entries which the log then did not get; returns their paths.

    `named`: the paths that entries of the log name. Only before the log is written again. What a journal names stays,
    whatever became of the commit that should have it.
    """
    lost = [
        path for path in kept(root) if path not in named and not is_committed(path) and not _is_in_journal(root, path)
    ]
    for path in lost:
        files.remove(root, path)
    forget(root, lost)
    for unfinished in (root / FOLDER).glob(".*"):
        unfinished.unlink()
    return lost


def _is_in_journal(root: Path, path: str) -> bool:
    """Whether an entry names a payload (a copied segment: whether its session was made)."""
    session, kind, name = path.rsplit("/", 2)
    segments = (root / session / "journal").glob("*.jsonl")
    return any(kind == "forked" or name.encode() in segment.read_bytes() for segment in segments)


def bring_back(root: Path, path: str) -> None:
    """Give the payload its place in the tree again, where somebody removed it."""
    kept, target = second(root, path), root / path
    if not target.exists() and kept.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(kept, target)


def exists(root: Path, path: str) -> bool:
    """Whether the payload is there under one of its names."""
    return (root / path).exists() or second(root, path).exists()


def forget(root: Path, paths: Iterable[str]) -> None:
    """A commit has them."""
    for path in paths:
        second(root, path).unlink(missing_ok=True)


def kept(root: Path) -> Iterator[str]:
    """The paths of all that have a second name."""
    folder = root / FOLDER
    if folder.is_dir():
        for path in list(folder.iterdir()):
            if not path.name.startswith("."):  # one that was being written
                yield unquote(path.name)
