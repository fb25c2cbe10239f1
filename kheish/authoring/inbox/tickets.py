"""Files that were moved out of the inbox, in folders of their own: `.git/kheish/inbox/<ticket>/<session>/<name>`.

Files that are taken together share a ticket, so that a thousand files cost one fsync for each folder and not four for
each file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kheish import ids
from kheish.auth import redaction
from kheish.authoring import contents
from kheish.errors import FileRefused
from kheish.store import door, files, names

FOLDER = "inbox"
#: the beginning of the paths, in the inbox, of files that become observations
OBSERVED = "observations/"
MAX_BYTES = 4 * 1024 * 1024  # as a request by HTTP

_PREFIX = "drops"
Scrub = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that was moved out of the way. `path` is its original place, relative to the root."""

    ticket: Path
    path: str

    @property
    def file(self) -> Path:
        """The present place of the file."""
        return names.within(self.ticket, self.inner)

    @property
    def inner(self) -> str:
        """The path of the file in the inbox."""
        return self.path.removeprefix(f"{FOLDER}/")

    @property
    def is_observed(self) -> bool:
        """Return whether the file is an observation of a source."""
        return self.inner.startswith(OBSERVED)

    @property
    def key(self) -> str:
        """The idempotency key: each file of a ticket is a request of its own."""
        if not self.ticket.name.startswith(f"{_PREFIX}_"):  # of an earlier version: a ticket for each file
            return self.ticket.name
        return f"{self.ticket.name}.{hashlib.sha256(self.inner.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """The content of a file: as it was dropped, and as it may be committed, by the secrets of `scrub`."""

    raw: bytes
    clean: bytes
    scrub: Scrub

    def cleaned(self, scrub: Scrub) -> bytes:
        """Return the content for a commit, by the secrets of now."""
        return self.clean if scrub is self.scrub else redaction.scrub_file(self.raw, scrub)


def move(root: Path, away: Path, paths: Sequence[str]) -> tuple[list[Taken], dict[str, str]]:
    """Move dropped files to a new ticket. Return them, and the reasons for those that cannot be moved now.

    Files that are missing, no plain files, or empty (a program begins to write) are skipped. Blocks on disk.
    """
    ticket = away / ids.new(_PREFIX)
    moved, failed = list[Taken](), dict[str, str]()
    for path in paths:
        source = names.within(root, path)
        taken = Taken(ticket, path)
        try:
            status = source.lstat()
        except OSError:
            continue
        if not (stat.S_ISREG(status.st_mode) and status.st_size):
            continue
        try:
            rename(source, taken.file)
            moved.append(taken)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed[path] = str(error.strerror)
    try:  # after a power cut, an accepted file must not reappear as another drop
        _make_durable(root, away, moved)
    except OSError as error:
        failed |= {taken.path: str(error.strerror) for taken in moved}
        _move_back(root, moved)
        return [], failed
    return moved, failed


def _move_back(root: Path, moved: Iterable[Taken]) -> None:
    """Move files back to the inbox, unless another of the same name was dropped: then the next start finds the moved
    file."""
    for taken in moved:
        source = names.within(root, taken.path)
        if not os.path.lexists(source):
            with suppress(OSError):
                rename(taken.file, source)


def _make_durable(root: Path, away: Path, moved: Iterable[Taken]) -> None:
    folders = {folder: None for taken in moved for folder in (*_between(taken.file, away), away, away.parent)}
    for folder in folders:
        files.fsync_folder(folder)
    for folder in {names.within(root, taken.path).parent for taken in moved}:
        with suppress(FileNotFoundError):  # the folder disappeared with its last file
            files.fsync_folder(folder)


def _between(path: Path, above: Path) -> Iterator[Path]:
    """Yield the folders of a path, from the innermost, up to but without `above`."""
    for folder in path.parents:
        if folder == above:
            return
        yield folder


def list_moved(away: Path) -> list[Taken]:
    """Return the files that an earlier daemon had moved but not seen in a commit. Blocks on disk."""
    moved = list[Taken]()
    for ticket in sorted(away.iterdir()) if away.is_dir() else ():
        inside = [Taken(ticket, f"{FOLDER}/{path.partition('/')[2]}") for path, _ in door.walk(away, ticket.name)]
        if not inside:
            shutil.rmtree(ticket, ignore_errors=True)
        moved += inside
    return moved


def read(away: Path, taken: Sequence[Taken], scrub: Scrub) -> list[Dropped | FileRefused | OSError | None]:
    """Return the contents of the first of these files, at least one; None for a missing file. Blocks on disk."""
    found = contents.read(away, [f"{one.ticket.name}/{one.inner}" for one in taken], most=MAX_BYTES)
    return [Dropped(raw, redaction.scrub_file(raw, scrub), scrub) if isinstance(raw, bytes) else raw for raw in found]


def read_one(away: Path, taken: Taken, most: int) -> bytes | None:
    """Return the content of a file; None if it is missing. Blocks on disk. Raises FileRefused, OSError."""
    [found] = contents.read(away, [f"{taken.ticket.name}/{taken.inner}"], most=most)
    if isinstance(found, Exception):
        raise found
    return found


def remove(away: Path, taken: Iterable[Taken]) -> None:
    """Remove moved files, and the tickets that become empty. Blocks on disk."""
    paths = [one.file for one in taken]
    for path in paths:
        with suppress(OSError):
            path.unlink()
    _remove_folders(away, paths)


def _remove_folders(away: Path, paths: Iterable[Path]) -> None:
    """Remove the empty folders of these paths, the inner ones first."""
    folders = {folder for path in paths for folder in _between(path, away)}
    for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
        with suppress(OSError):
            folder.rmdir()


def rename(source: Path, target: Path) -> None:
    """Move a file, into a folder that may be missing."""
    try:
        source.rename(target)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
