"""The payloads that were too large for a journal line, and the single way to read their bytes.

`append` hands a payload to the log together with the line that names it. Until the log reports both as durable, the
payload is read from memory here; after that it is read from its file. Readers need not distinguish the two.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from kheish.state.event import Spilled
from kheish.store.log import spills

#: bytes of payloads that stay in memory after they were read, since a run reads the same payloads at each turn
REMEMBERED = 16 * 1024 * 1024


class Payloads:
    """The payloads of a state root. `folder` is always the session's folder (its path relative to the root).

    Reading is safe in any thread; `hold` and `release` belong to the event loop.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pending: dict[str, bytes] = {}  # by path: handed to the log, not on disk yet
        self._holds: dict[str, int] = {}  # by path: the number of groups that hold it
        self._order: deque[tuple[int, Sequence[str]]] = deque()
        self._remembered: OrderedDict[str, str] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def hold(self, last: int, payloads: Sequence[tuple[str, bytes]]) -> None:
        """Keep the payloads of a group until entry `last` is on disk."""
        if not payloads:
            return
        for path, content in payloads:
            self._pending[path] = content
            self._holds[path] = self._holds.get(path, 0) + 1
        self._order.append((last, [path for path, _ in payloads]))

    def release(self, last: int) -> None:
        """Drop the payloads of all entries up to `last`, which are on disk."""
        while self._order and self._order[0][0] <= last:
            for path in self._order.popleft()[1]:
                self._holds[path] -= 1
                if not self._holds[path]:
                    del self._holds[path], self._pending[path]

    def read(self, folder: str, spilled: Spilled) -> bytes:
        """Return the bytes of a payload. Blocks on disk. Raises Damaged if they are missing or changed."""
        pending = self._pending.get(_path(folder, spilled))
        return pending if pending is not None else on_disk(self._root, folder, spilled)

    async def text(self, folder: str, spilled: Spilled) -> str:
        """Return a payload as text, without blocking the event loop. Raises Damaged."""
        return (await self.texts(folder, (spilled,)))[spilled.sha256]

    async def texts(self, folder: str, references: Iterable[Spilled]) -> dict[str, str]:
        """Return the texts of payloads by digest, without blocking the event loop. Raises Damaged."""
        by_digest = {spilled.sha256: spilled for spilled in references}
        return await asyncio.to_thread(self._texts, folder, by_digest) if by_digest else {}

    def _texts(self, folder: str, references: dict[str, Spilled]) -> dict[str, str]:
        return {digest: self._text(folder, spilled) for digest, spilled in references.items()}

    def _text(self, folder: str, spilled: Spilled) -> str:
        path = _path(folder, spilled)
        with self._lock:
            if (known := self._remembered.get(path)) is not None:
                self._remembered.move_to_end(path)
                return known
        text = self.read(folder, spilled).decode("utf-8", "replace")
        with self._lock:
            if path not in self._remembered:
                self._remembered[path] = text
                self._size += text.__sizeof__()
            while self._size > REMEMBERED:
                self._size -= self._remembered.popitem(last=False)[1].__sizeof__()
        return text


def on_disk(root: Path, folder: str, spilled: Spilled) -> bytes:
    """Return the bytes of a payload that a journal names; payloads are written before the journal. Blocks on disk.

    Raises Damaged if they are missing or changed.
    """
    return spills.read(root, _path(folder, spilled), size=spilled.bytes)


def _path(folder: str, spilled: Spilled) -> str:
    return spills.place_of(folder, spilled.sha256)
