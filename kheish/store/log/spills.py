"""A second name for each spilled payload until a commit has it, where `git clean` and `git stash -u` do not reach."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

from kheish.errors import Damaged
from kheish.store import files
from kheish.store.git import command as git

FOLDER = ".git/kheish/spill"
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def place_of(folder: str, digest: str) -> str:
    """Return where a session in `folder` has the payload with this digest, relative to the root."""
    return f"{folder}/spill/{digest}"


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
    if not _is_whole(kept, content):
        kept.unlink(missing_ok=True)
        if _is_whole(target, content):  # content-addressed: the same bytes
            os.link(target, kept)
        else:
            _write(kept, content, fsync=fsync)
        if fsync:
            files.fsync_folder(kept.parent)
    if not _is_whole(target, content):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.link(kept, target)
    if fsync:
        for folder in (target.parent, *(new.parent for new in made)):
            files.fsync_folder(folder)


def _is_whole(path: Path, content: bytes) -> bool:
    """Return whether a file of this size is there: the name says what is in it, unless it was cut."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == len(content)


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
    folder, kind, name = path.rsplit("/", 2)
    segments = (root / folder).glob("*.jsonl" if folder.startswith("journals/") else "journal/*.jsonl")
    return any(kind == "forked" or name.encode() in segment.read_bytes() for segment in segments)


def read(root: Path, path: str, *, size: int | None = None) -> bytes:
    """Return the bytes of a payload, from one of its names or the last commit: a person's git may have the work tree
    without it (another branch, a sparse checkout). `size`: how many it has, where known. Blocks on disk.

    Raises Damaged where they are gone, or are not what was written.
    """
    from hashlib import sha256

    digest = path.rpartition("/")[2]
    is_there = False
    most = -1 if size is None else size + 1
    places = [partial(_regular, root / path, most), partial(_regular, second(root, path), most)]
    for place in (*places, partial(_committed, root, path)) if _DIGEST.match(digest) else ():
        found = place()
        if found is not None and sha256(found).hexdigest() == digest:
            return found
        is_there = is_there or found is not None
    how = "is not what was written" if is_there else "is missing"
    raise Damaged(f"The payload {path} {how}.", path=str(root / path))


def _committed(root: Path, path: str) -> bytes | None:
    """Return a payload as the daemon's last commit has it; None where it has none."""
    try:
        done = git.run(root, ("cat-file", "blob", f"refs/kheish/last:{path}"), timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def beginning(root: Path, path: str, size: int) -> bytes | None:
    """Return the first bytes of a payload, unproven; None where it is gone. Blocks on disk."""
    if not _DIGEST.match(path.rpartition("/")[2]):
        return None
    found = _regular(root / path, size)
    return found if found is not None else _regular(second(root, path), size)


def _regular(path: Path, most: int) -> bytes | None:
    """Return at most so many bytes of a file; None where there is no plain file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


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
