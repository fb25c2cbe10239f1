"""Files of assets on disk: received into a private folder, then placed by their digest under two names, as payloads of
journals are (`store/log/spills`).

All functions block on disk.
"""

from __future__ import annotations

import codecs
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from kheish.errors import FileRefused, TooLarge
from kheish.store import door, files
from kheish.store.log import spills

_FOLDER = ".git/kheish/uploads"
_CHUNK = 1 << 20
HEAD = 8192  # bytes of the beginning that are kept in memory


class Incoming:
    """A file that is being received; it is removed by `discard`, whatever became of it."""

    def __init__(self, root: Path, most: int) -> None:
        self.most = most
        self._digest = sha256()
        self.bytes = 0
        self.head = b""
        folder = root / _FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / os.urandom(12).hex()
        self._file = self.path.open("xb")

    def write(self, chunk: bytes) -> None:
        """Append a part. Raises TooLarge."""
        self.bytes += len(chunk)
        if self.bytes > self.most:
            raise too_large(None, self.most)
        if len(self.head) < HEAD:
            self.head += chunk[: HEAD - len(self.head)]
        self._digest.update(chunk)
        self._file.write(chunk)

    def flush(self) -> None:
        """Write what is buffered, so that others can read the file."""
        self._file.flush()

    def finish(self) -> str:
        """Make the file durable, and return its sha256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


def too_large(length: int | None, most: int) -> TooLarge:
    """Return the error for a file over the limit."""
    size = f"{length} bytes" if length is not None else "more"
    return TooLarge(f"An asset has at most {most} bytes (assets.max in kheish.yaml); this file has {size}.")


def place(root: Path, path: str, incoming: Incoming, digest: str) -> None:
    """Place a finished file. Content that was changed or cut by others is replaced. Raises Invalid, OSError."""
    files.contained(root, path)
    if not is_intact(root, path, digest, incoming.bytes):
        spills.clear(root, path)
        spills.second(root, path).unlink(missing_ok=True)
    spills.adopt(root, path, incoming.path, incoming.bytes)


def place_part(root: Path, path: str, content: bytes) -> None:
    """Place a file that was derived from an asset. Raises Invalid, OSError."""
    files.contained(root, path)
    if not is_intact(root, path, sha256(content).hexdigest(), len(content)):
        spills.clear(root, path)
        spills.second(root, path).unlink(missing_ok=True)
    spills.place(root, path, content, fsync=True)


def read(root: Path, path: str, *, digest: str, size: int) -> bytes:
    """Return the content of a file, from one of its places. Raises Damaged if no place has what was written."""
    return spills.read(root, path, size=size, digest=digest)


def is_intact(root: Path, path: str, digest: str, size: int) -> bool:
    """Return whether the file in the work tree is what was written."""
    try:
        content = door.read(root, path, most=size)
    except (FileRefused, OSError):
        return False
    return sha256(content).hexdigest() == digest


def is_utf8(file: Path) -> bool:
    """Return whether a received file is text in UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                if b"\0" in chunk:
                    return False
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def clear(root: Path) -> None:
    """Remove what an earlier daemon was receiving when it ended."""
    with suppress(FileNotFoundError):
        for entry in (root / _FOLDER).iterdir():
            entry.unlink(missing_ok=True)
