"""Rejected files: their places in `inbox/rejected/`, beside a text with the reason."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kheish.authoring.inbox import tickets
from kheish.authoring.inbox.tickets import MAX_BYTES, Taken
from kheish.errors import FileRefused
from kheish.store import door

REJECTED = "inbox/rejected"
_ODD = re.compile(r"[^A-Za-z0-9._-]")
_NAME = 150

Filing = Mapping[str, tuple[Taken, bytes]]  # the files of the next commits, by their new path


@dataclass(frozen=True, slots=True)
class Rejection:
    """A file that is not used, its content for the commit (None: it is moved unchanged), and the reason."""

    taken: Taken
    clean: bytes | None
    reason: str


class Names:
    """Names for rejected files of one round: files of one name (odd names have the same) are read once."""

    def __init__(self, root: Path, filing: Filing) -> None:
        self._root = root
        self._filing = filing
        self._numbers: dict[str, int] = {}  # the first that was not read
        self._known: dict[tuple[str, bytes], str] = {}  # the path of a name and a content

    def place(self, rejections: Sequence[Rejection]) -> list[str | OSError]:
        """Return the paths of rejected files. One that no commit can hold is moved to its path, or the error is
        returned. Blocks on disk."""
        return [self._place(one) for one in rejections]

    def _place(self, rejection: Rejection) -> str | OSError:
        path = self.path(plain_name(rejection.taken.inner.replace("/", ".")), rejection.clean)
        if rejection.clean is None:  # too large for a commit, or no plain file
            try:
                tickets.rename(rejection.taken.file, self._root / path)
            except OSError as error:
                return error
        return path

    def path(self, name: str, raw: bytes | None) -> str:
        """Return the path for a rejected file, beside others of the same name. An identical rejected file is reused."""
        stem, dot, suffix = name.rpartition(".")
        digest = hashlib.sha256(raw).digest() if raw is not None else b""
        while True:
            if raw is not None and (known := self._known.get((name, digest))) is not None:
                return known
            number = self._numbers.get(name, 1)
            path = f"{REJECTED}/{stem}{'' if number == 1 else f'.{number}'}{dot}{suffix}"
            self._numbers[name] = number + 1
            there = self._filing.get(path)
            if there is None and not os.path.lexists(self._root / path):
                if raw is not None:
                    self._known[name, digest] = path
                return path
            with suppress(FileRefused, OSError):  # another content
                content = there[1] if there is not None else door.read(self._root, path, most=MAX_BYTES)
                self._known[name, hashlib.sha256(content).digest()] = path


def plain_name(name: str) -> str:
    """Return a name that every file system accepts; its end is kept, for the suffix."""
    return _ODD.sub("_", name)[-_NAME:].lstrip(".")
