"""The output of a command: kept up to a limit, the first half and the latest quarter or more, with the gap marked.

The output is divided into segments of a quarter of the limit, `output.000000` and so on; segment i holds the bytes from
i x size. Of more than four segments, the first two and the last two stay. So the runner rotates by deleting one file. A
reader gets the position of the bytes from a file's name, and a slow reader sees how much it has missed.
"""
# Imported by the runner, see folder.py:
# ruff: noqa: PTH108, PTH116, PTH118, PTH123, PTH208

from __future__ import annotations

import os

#: the most bytes that a single `read` returns
CHUNK = 64 * 1024
_HEAD_SEGMENTS = 2
_TAIL_SEGMENTS = 2


def segment_size(limit: int) -> int:
    """Return the bytes in a segment for an output limit in bytes."""
    return max(limit // (_HEAD_SEGMENTS + _TAIL_SEGMENTS), 1)


class Writer:
    """A writer of the output as it arrives. A full disk loses output (`failure` gives the reason), never the
    command."""

    def __init__(self, folder: str, limit: int) -> None:
        self.total = 0
        self.failure: str | None = None
        self._folder = folder
        self._size = segment_size(limit)
        self._file = -1

    def write(self, data: bytes) -> None:
        """Append to the current segment, and start the next when it is full."""
        view = memoryview(data)
        while view:
            try:
                if self._file < 0:
                    self._open(self.total // self._size)
                written = os.write(self._file, view[: self._size - self.total % self._size])
            except OSError as error:
                self.failure = error.strerror
                return
            self.total += written
            view = view[written:]
            if self.total % self._size == 0:
                self._close()

    def close(self) -> None:
        """Make the kept output durable. This happens only now, since a torrent would fsync segments that it deletes a
        moment later."""
        self._close()
        for index in _segments(self._folder):
            try:
                descriptor = os.open(_segment(self._folder, index), os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                self.failure = error.strerror

    def _close(self) -> None:
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self, index: int) -> None:
        doomed = index - _TAIL_SEGMENTS
        if doomed >= _HEAD_SEGMENTS:
            os.unlink(_segment(self._folder, doomed))
        self._file = os.open(_segment(self._folder, index), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Reader:
    """A reader of the output from its first byte, while it is written or afterwards."""

    def __init__(self, folder: str, limit: int) -> None:
        self.position = 0
        self._folder = folder
        self._size = segment_size(limit)

    def read(self) -> tuple[int, bytes]:
        """Return the number of bytes cut before the next ones, and those bytes; no bytes if there are none yet."""
        skipped = 0
        while True:
            index, offset = divmod(self.position, self._size)
            try:
                with open(_segment(self._folder, index), "rb") as file:
                    file.seek(offset)
                    data = file.read(min(CHUNK, self._size - offset))
            except FileNotFoundError:
                later = [at for at in _segments(self._folder) if at > index]
                if not later:
                    return skipped, b""
                skipped += later[0] * self._size - self.position
                self.position = later[0] * self._size
                continue
            self.position += len(data)
            return skipped, data


def written(folder: str, limit: int) -> int:
    """Return the number of bytes that the command has written so far, including those that were cut."""
    segments = _segments(folder)
    if not segments:
        return 0
    try:
        return segments[-1] * segment_size(limit) + os.stat(_segment(folder, segments[-1])).st_size
    except FileNotFoundError:  # rotated or removed meanwhile
        return segments[-1] * segment_size(limit)


def _segment(folder: str, index: int) -> str:
    return os.path.join(folder, f"output.{index:06d}")


def _segments(folder: str) -> list[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name[7:]) for name in names if name.startswith("output."))
