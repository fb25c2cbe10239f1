"""The log of what a stdio server writes to its standard error: bounded, and without the values of slots."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable
from pathlib import Path

from kheish.auth import redaction
from kheish.jobs.output import Writer

#: bytes of a log: its first half and its newest quarter or more
LIMIT = 256 * 1024
Scrub = Callable[[bytes], bytes]


class ErrorLog:
    """The log of one process. `scrub` returns the scrubber of the moment. Values are recognised across writes, in every
    form in which journals recognise them."""

    def __init__(self, folder: Path, scrub: Callable[[], Scrub]) -> None:
        self._folder = folder
        self._scrub = scrub
        self._used: Scrub = scrub()
        self._stream = redaction.stream(self._used)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._writer = Writer(str(folder), LIMIT)

    def prepare(self) -> None:
        """Make the folder, without the log of an earlier process. Blocks on disk."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self._folder.glob("output.*"):
            old.unlink(missing_ok=True)

    async def add(self, data: bytes) -> None:
        """Append what was written."""
        await asyncio.to_thread(self._add, data)

    async def close(self) -> None:
        """Append what was held back, since it might have been the beginning of a secret."""
        await asyncio.to_thread(self._close)

    def _add(self, data: bytes) -> None:
        self._write(self._current().feed(self._decoder.decode(data)))

    def _close(self) -> None:
        self._write(self._stream.feed(self._decoder.decode(b"", final=True)) + self._stream.end())
        self._writer.close()

    def _current(self) -> redaction.Stream:
        """Return the stream, with the slots that there are now."""
        scrub = self._scrub()
        if scrub is not self._used:
            self._write(self._stream.end())
            self._used, self._stream = scrub, redaction.stream(scrub)
        return self._stream

    def _write(self, text: str) -> None:
        self._writer.write(redaction.shapes(text).encode("utf-8", "replace"))
