"""The output of a job as it is followed: bytes with their positions become text, and gaps are marked."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable


def cut(count: int) -> str:
    """Return the mark of a gap."""
    return f"\n[{count:,} bytes of output were cut here]\n"


class Text:
    """Decodes parts as they come, and passes the text on. What was passed on before is left out."""

    def __init__(self, on_output: Callable[[str], None]) -> None:
        self.position = 0
        self._on_output = on_output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, offset: int, data: bytes) -> None:
        """Pass on the text of a part that begins at `offset`."""
        if offset < self.position:
            offset, data = self.position, data[self.position - offset :]
        texts = []
        if offset > self.position:
            texts = [self._decoder.decode(b"", final=True), cut(offset - self.position)]
            self._decoder.reset()
        texts.append(self._decoder.decode(data))
        self.position = offset + len(data)
        self._pass_on("".join(texts))

    def end(self) -> None:
        """Pass on the rest: a character that was never completed."""
        self._pass_on(self._decoder.decode(b"", final=True))

    def _pass_on(self, text: str) -> None:
        if text:
            self._on_output(text)


class Kept:
    """The first and the last half of `limit` bytes of an output, whatever comes; the gap is marked."""

    def __init__(self, limit: int) -> None:
        self.position = 0
        self._half = limit // 2
        self._head = bytearray()
        self._tail: deque[tuple[int, bytes]] = deque()
        self._tail_bytes = 0

    def add(self, offset: int, data: bytes) -> None:
        """Keep a part. Bytes before the newest position are left out: they came before."""
        if offset < self.position:
            offset, data = self.position, data[self.position - offset :]
        room = self._half - len(self._head) if offset == len(self._head) else 0
        self._head += data[:room]
        self.position = offset + len(data)
        if rest := data[max(room, 0) :]:
            self._tail.append((self.position - len(rest), rest))
            self._tail_bytes += len(rest)
        while self._tail and self._tail_bytes - len(self._tail[0][1]) >= self._half:
            self._tail_bytes -= len(self._tail.popleft()[1])

    def text(self) -> tuple[str, bool]:
        """Return the text, and whether something is missing in it."""
        texts: list[str] = []
        text, is_cut = Text(texts.append), False
        for offset, data in ((0, bytes(self._head)), *self._tail):
            is_cut = is_cut or offset > text.position
            text.add(offset, data)
        text.end()
        return "".join(texts), is_cut
