"""A second name for each spilled payload until it is committed, out of reach of `git clean` and `git stash -u`."""

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

from kheish.beneath import kernel
from kheish.errors import Damaged
from kheish.store import files
from kheish.store.git import command as git

FOLDER = ".git/kheish/spill"
_NAME = 200
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def place_of(folder: str, digest: str) -> str:
    """Return the path of the payload with this digest for a session in `folder`, relative to the root."""
    return f"{folder}/spill/{digest}"


def second(root: Path, path: str) -> Path:
    """Return the path of a payload's second name; `path` is relative to the root."""
    return root / FOLDER / quote(path, safe="")


def place(root: Path, path: str, content: bytes, *, fsync: bool) -> None:
    """Write a payload under both of its names. Raises OSError.

    The second name comes first: wherever a kill happens, `sweep` can find a payload in the tree that no entry names.
    """
    _place(root, path, len(content), lambda kept: _write(kept, content, fsync=fsync), fsync=fsync)


def adopt(root: Path, path: str, file: Path, size: int) -> None:
    """Give a fsynced file of this file system both names of a payload. Raises OSError."""
    _place(root, path, size, lambda kept: os.link(file, kept), fsync=True)


def _place(root: Path, path: str, size: int, write: Callable[[Path], None], *, fsync: bool) -> None:
    kept, target = second(root, path), root / path
    kept.parent.mkdir(parents=True, exist_ok=True)
    created = [folder for folder in (target.parent, *target.parents) if not folder.exists()]
    if not _is_whole(kept, size):
        kept.unlink(missing_ok=True)
        if _is_whole(target, size):  # content-addressed: the same bytes
            os.link(target, kept)
        else:
            write(kept)
        if fsync:
            files.fsync_folder(kept.parent)
    if not _is_whole(target, size):
        target.parent.mkdir(parents=True, exist_ok=True)
        clear(root, path)
        os.link(kept, target)
    if fsync:
        for folder in (target.parent, *(new.parent for new in created)):
            files.fsync_folder(folder)


def clear(root: Path, path: str) -> None:
    """Remove what is in the place of a payload. A folder is a user's, and moved to `conflicts/`. Raises OSError."""
    target = root / path
    if target.is_symlink() or not target.is_dir():
        target.unlink(missing_ok=True)
        return
    aside = root / "conflicts" / f"{path.replace('/', '.')[-_NAME:]}.{os.urandom(4).hex()}"
    aside.parent.mkdir(exist_ok=True)
    target.rename(aside)


def _is_whole(path: Path, size: int) -> bool:
    """Return whether a file of this size exists: its name determines its content, unless it was truncated."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def _write(path: Path, content: bytes, *, fsync: bool) -> None:
    """Write a payload under a short temporary name, since its final name may be as long as file names can be."""
    temporary = path.with_name(f".{os.urandom(8).hex()}")
    with temporary.open("xb") as file:
        file.write(content)
        file.flush()
        if fsync:
            os.fsync(file.fileno())
    temporary.replace(path)


def sweep(root: Path, named: Collection[str], is_committed: Callable[[str], bool]) -> list[str]:
    """Remove payloads that were written for entries that the log then did not get; return their paths.

    `named` are the paths that entries of the log name. Call this only before the log is written again. Payloads that a
    journal names stay, whatever happened to their commit.
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
    """Return whether an entry names a payload (for a copied segment: whether its session was created)."""
    folder, kind, name = path.rsplit("/", 2)
    segments = (root / folder).glob("*.jsonl" if folder.startswith("journals/") else "journal/*.jsonl")
    return any(kind == "forked" or name.encode() in segment.read_bytes() for segment in segments)


def read(root: Path, path: str, *, size: int | None = None, digest: str | None = None) -> bytes:
    """Return the bytes of a payload, from one of its names or the last commit: a user's git may have removed it from
    the work tree (another branch, a sparse checkout). `size` is its length, if known; `digest` is its sha256, if it has
    another name. Blocks on disk.

    Raises Damaged if the bytes are missing or changed.
    """
    from hashlib import sha256

    digest = digest or path.rpartition("/")[2]
    is_there = False
    most = -1 if size is None else size + 1
    places = [partial(_regular, root / path, most), partial(_regular, second(root, path), most)]
    for place in (*places, partial(_committed, root, path)) if _DIGEST.match(digest) else ():
        content = place()
        if content is not None and sha256(content).hexdigest() == digest:
            return content
        is_there = is_there or content is not None
    how = "is not what was written" if is_there else "is missing"
    raise Damaged(f"The payload {path} {how}.", path=str(root / path))


def _committed(root: Path, path: str) -> bytes | None:
    """Return a payload from the daemon's last commit, or None."""
    try:
        done = git.run(root, ("cat-file", "blob", f"refs/kheish/last:{path}"), timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def beginning(root: Path, path: str, size: int) -> bytes | None:
    """Return the first bytes of a payload, unverified; None if it is missing. Blocks on disk."""
    if not _DIGEST.match(path.rpartition("/")[2]):
        return None
    content = _regular(root / path, size)
    return content if content is not None else _regular(second(root, path), size)


def _regular(path: Path, most: int) -> bytes | None:
    """Return at most so many bytes of a regular file; None if there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    file = kernel.regular_file(descriptor)
    if file is None:
        return None
    with file:
        return file.read(most)


def bring_back(root: Path, path: str) -> None:
    """Restore the payload's place in the tree if it was removed."""
    kept, target = second(root, path), root / path
    if not target.exists() and kept.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(kept, target)


def exists(root: Path, path: str) -> bool:
    """Return whether the payload exists under one of its names."""
    return (root / path).exists() or second(root, path).exists()


def forget(root: Path, paths: Iterable[str]) -> None:
    """Remove the second names of payloads that are committed."""
    for path in paths:
        second(root, path).unlink(missing_ok=True)


def kept(root: Path) -> Iterator[str]:
    """Yield the paths of all payloads that have a second name."""
    folder = root / FOLDER
    if folder.is_dir():
        for path in list(folder.iterdir()):
            if not path.name.startswith("."):  # an unfinished write
                yield unquote(path.name)
