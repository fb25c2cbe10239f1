"""The base of reactors, which find work at the start, react to durable entries, and tick every second."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from kheish.domain import events
from kheish.domain.events import Event
from kheish.errors import StoreFailed
from kheish.state.encoding import Recorded

log = logging.getLogger(__name__)


class Reactor:
    """A reactor that does nothing. Subclasses override what they need; all methods run on the event loop."""

    #: the classes of the entries that `heard` is called with; None for every batch as a whole
    reacts_to: frozenset[type[Event]] | None = frozenset()

    async def prepare(self) -> None:
        """Clean up after an earlier daemon. Called before the first entry is appended, and so before runs continue."""

    async def start(self) -> None:
        """Find open work in the index. Called once, when the daemon is ready."""

    def heard(self, batch: Sequence[Recorded]) -> None:
        """React to the entries of a durable batch whose classes are in `reacts_to`; called if there are any, from the
        first entry on, also before `start`."""

    async def tick(self, now: str) -> None:
        """Do the work that is due; called every second with a timestamp."""

    async def close(self) -> None:
        """Stop, and wait for work in progress."""


def in_stream(stream: str) -> frozenset[type[Event]]:
    """Return the classes of the entries in a stream, for `Reactor.reacts_to`."""
    return frozenset(cls for cls in events.kinds().values() if cls.stream == stream)


class Hearing:
    """A listener of batches that calls `heard` of each reactor, in order, with the entries that it reacts to."""

    def __init__(self, reactors: Sequence[Reactor], guard: Guard) -> None:
        self._reactors = [(reactor, guard.hearing(reactor)) for reactor in reactors]
        self._by_class: dict[type[Event], tuple[int, ...]] = {}

    def __call__(self, batch: Sequence[Recorded]) -> None:
        """Hand a batch to the reactors."""
        heard: defaultdict[int, list[Recorded]] = defaultdict(list)
        for item in batch:
            for place in self._hearing(type(item.entry.event)):
                heard[place].append(item)
        for place in sorted(heard):
            self._reactors[place][1](heard[place])

    def _hearing(self, cls: type[Event]) -> tuple[int, ...]:
        """Return the places of the reactors that react to a class of entries."""
        places = self._by_class.get(cls)
        if places is None:
            everyone = enumerate(self._reactors)
            places = tuple(at for at, (one, _) in everyone if one.reacts_to is None or one.reacts_to & {*cls.__mro__})
            self._by_class[cls] = places
        return places


class Guard:
    """Keeps a fault of one reactor from stopping the daemon and the other reactors: the fault is logged, and
    `report(message)` is called for it. StoreFailed passes, since the daemon ends then."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report

    async def awaiting(self, reactor: Reactor, work: Awaitable[None]) -> None:
        """Await `start` or `tick` of a reactor. Raises StoreFailed."""
        try:
            await work
        except StoreFailed:
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback in `_failed`
            self._failed(reactor, error)

    def hearing(self, reactor: Reactor) -> Callable[[Sequence[Recorded]], None]:
        """Return `heard` of a reactor as a listener that does not fail."""

        def heard(batch: Sequence[Recorded]) -> None:
            try:
                reactor.heard(batch)
            except Exception as error:  # noqa: BLE001 - logged with its traceback in `_failed`
                self._failed(reactor, error)

        return heard

    def _failed(self, reactor: Reactor, error: Exception) -> None:
        name = type(reactor).__name__
        log.exception("reactor %s", name, exc_info=error)
        self._report(
            f"A part of the daemon ({name}) failed: {type(error).__name__}: {error}. This is a fault of Kheish; please "
            "report it with the log. Restart the daemon to let this part take up all of its work again."
        )
