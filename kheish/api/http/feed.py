"""Live events for many readers: a frame is encoded once, a reader has a bounded buffer and is woken in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from kheish.api.http.throttle import Streams
from kheish.store.bus import Bus, Frame

PING = b": ping\n\n"
HEARTBEAT = 15.0
#: a reader whose buffer exceeds this returns to reading from the index
BUFFER_BYTES = 1 << 20
#: above this number of readers, each is woken at most once per interval, which grows with their number
CROWD = 32
_PER_READER, _LONGEST = 0.0001, 0.1


def frame_bytes(frame: Frame) -> bytes:
    """Return a frame in SSE format; a live-only frame has no id."""
    if frame.n:
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (frame.n, frame.kind.encode(), frame.line)
    return b"event: %s\ndata: %s\n\n" % (frame.kind.encode(), frame.line)


#: whether an event is accepted, by its kind, its run, and its line
Narrow = Callable[[str, str | None, bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The events that a reader wants; empty: all. `narrow` decides conditions that the fields cannot express."""

    session: str | None = None
    run: str | None = None
    stream: str | None = None  # a stream and its owner, such as `channels/incident`
    kinds: frozenset[str] = frozenset()
    narrow: Narrow | None = None

    def takes(self, frame: Frame) -> bool:
        """Return whether the frame is wanted."""
        return (
            (self.session is None or frame.session == self.session)
            and (self.run is None or frame.run == self.run)
            and (self.stream is None or _is_of(frame, self.stream))
            and (self.narrow is None or self.narrow(frame.kind, frame.run, frame.line))
            and (not self.kinds or frame.kind in self.kinds)
        )


def _is_of(frame: Frame, stream: str) -> bool:
    """Return whether a frame is an entry of a stream: a line has the stream before its data."""
    if frame.session is not None or not frame.n:
        return False
    return b'"stream":"%s",' % stream.encode() in frame.line[: frame.line.find(b'"data":')]


class Reader:
    """A client's position: `last` is the newest event number that was delivered or filtered out.

    A reader is either attached (live frames are offered to it) or detached (it reads from the index). Overflow detaches
    it.
    """

    __slots__ = ("_chunks", "_newest", "_size", "_wake", "attached", "closed", "filter", "last", "overflowed", "pinged")

    def __init__(self, filter: Filter, last: int) -> None:
        self.filter = filter
        self.last = last
        self.attached = False
        self.closed = False
        self.overflowed = False
        self.pinged = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._newest = 0
        self._wake: asyncio.Future[None] | None = None

    def offer(self, n: int, data: bytes) -> bool:
        """Put a frame into the buffer.

        Returns False if the buffer is full: it is then dropped, to be read again from the index.
        """
        if n and n <= self.last:
            return True  # the index was ahead of the bus
        self._size += len(data)
        if self._size > BUFFER_BYTES and self._chunks:
            self._drop()
            self.overflowed = True
            return False
        self._chunks.append(data)
        if n:
            self._newest = n
        return True

    def passed(self, n: int) -> None:
        """Note that everything up to `n` is in the buffer or was not wanted."""
        if not self._chunks:
            self.last = max(self.last, n)

    def take(self) -> bytes:
        """Return and clear the buffer, and advance `last`."""
        if not self._chunks:
            return b""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self.last = max(self.last, self._newest)
        self._drop()
        return data

    def _drop(self) -> None:
        self._chunks, self._size, self._newest = [], 0, 0

    async def wait(self) -> None:
        """Wait until there is work; one task waits at a time."""
        if self._chunks or self.closed or self.overflowed or self.pinged:
            return
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def wake(self) -> None:
        """Wake the waiting task."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self) -> None:
        """Close the reader: it gets no more frames."""
        self.closed = True
        self.wake()


class Feed:
    """The distributor of the bus's frames to the attached readers.

    The work for a frame grows with the readers that want it.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._stop: Callable[[], None] | None = None
        self._everything: dict[Reader, None] = {}
        self._by_session: dict[str, dict[Reader, None]] = {}
        self._by_run: dict[str, dict[Reader, None]] = {}
        self._count = 0
        self.by_caller = Streams()
        self.streams = 0  # open ones, attached or reading from the index
        self._due: dict[Reader, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._heart: asyncio.TimerHandle | None = None

    @property
    def readers(self) -> int:
        """The number of attached readers."""
        return self._count

    def join(self, reader: Reader, durable_n: int) -> bool:
        """Attach a reader that has everything up to `reader.last`, and fill in the later frames of the bus.

        Returns False if the bus does not reach that far back; the reader must first continue from the index. This
        awaits nothing, so no frame comes between the filling and the attaching.
        """
        recent = self._bus.recent
        newest = recent[-1].n if recent else durable_n
        if reader.last < newest:
            if not recent or recent[0].n > reader.last + 1:
                return False
            for frame in _after(recent, reader.last):
                if reader.filter.takes(frame) and not reader.offer(frame.n, frame_bytes(frame)):
                    reader.overflowed = False
                    return False
            reader.passed(newest)
        self._attach(reader)
        return True

    def _attach(self, reader: Reader) -> None:
        self._group(reader)[reader] = None
        reader.attached = True
        reader.overflowed = False
        self._count += 1
        if self._stop is None:
            self._stop = self._bus.listen(self._publish)
            self._beat_later()

    def leave(self, reader: Reader) -> None:
        """Detach a reader; an unattached reader is ignored."""
        if not reader.attached:
            return
        reader.attached = False
        self._count -= 1
        self._group(reader).pop(reader, None)
        self._due.pop(reader, None)
        self._forget_empty(reader.filter)
        if self._count == 0 and self._stop is not None:
            self._stop()
            self._stop = None
            if self._heart is not None:
                self._heart.cancel()
                self._heart = None

    def _forget_empty(self, filter: Filter) -> None:
        if filter.run is not None:
            if not self._by_run[filter.run]:
                del self._by_run[filter.run]
        elif filter.session is not None and not self._by_session[filter.session]:
            del self._by_session[filter.session]

    def _group(self, reader: Reader) -> dict[Reader, None]:
        if reader.filter.run is not None:
            return self._by_run.setdefault(reader.filter.run, {})
        if reader.filter.session is not None:
            return self._by_session.setdefault(reader.filter.session, {})
        return self._everything

    def _publish(self, frames: Sequence[Frame]) -> None:
        full: list[Reader] = []
        for frame in frames:
            data = b""
            for group in self._groups(frame):
                for reader in group:
                    if reader.overflowed or not reader.filter.takes(frame):
                        continue
                    data = data or frame_bytes(frame)
                    if not reader.offer(frame.n, data):
                        full.append(reader)
                    self._due[reader] = None
        for reader in full:
            self.leave(reader)
            reader.wake()
        if self._due and self._timer is None:
            self._wake_later()

    def _groups(self, frame: Frame) -> Iterable[Collection[Reader]]:
        if self._everything:
            yield self._everything
        if frame.session is not None and (group := self._by_session.get(frame.session)):
            yield group
        if frame.run is not None and (group := self._by_run.get(frame.run)):
            yield group

    def _wake_later(self) -> None:
        if self._count < CROWD:
            self._wake_due()
        else:
            delay = min(_LONGEST, self._count * _PER_READER)
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake_due)

    def _wake_due(self) -> None:
        self._timer = None
        due, self._due = self._due, {}
        for reader in due:
            reader.wake()

    def _beat_later(self) -> None:
        self._heart = asyncio.get_running_loop().call_later(HEARTBEAT, self._beat)

    def _beat(self) -> None:
        """Send a comment to all readers, so that disconnected clients are noticed."""
        for group in (self._everything, *self._by_session.values(), *self._by_run.values()):
            for reader in group:
                reader.pinged = True
                reader.wake()
        self._beat_later()


def _after(recent: Sequence[Frame], last: int) -> list[Frame]:
    """Return the frames after number `last`, from the end of the deque."""
    frames: list[Frame] = []
    for frame in reversed(recent):
        if frame.n <= last:
            break
        frames.append(frame)
    frames.reverse()
    return frames
