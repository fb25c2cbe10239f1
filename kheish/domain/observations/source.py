"""The state of a source: how many observations it sent, which of them keep their contents, and when the last came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kheish.domain import events
from kheish.domain.events import Entry, ObservationFile, changed, frozen
from kheish.domain.events.observations import OBSERVATIONS as OBSERVATIONS
from kheish.domain.shown import View
from kheish.state.event import adapter
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Source(View):
    """The state of a source; its observations are in the index only."""

    shown_as = "SourceState"
    source: str
    made: int
    n: int
    received: int = 0
    """The number of observations that it sent."""
    purged: int = 0
    """The number up to which contents are purged."""
    bytes: int = 0
    """The size of the contents that are kept."""
    last_received_at: str | None = None
    rest: ObservationFile | None = None
    """The file of the batch of which a part is purged."""

    @property
    def retained(self) -> int:
        """The number of observations that keep their contents."""
        return self.received - self.purged


FOLDED = (events.ObservationsStored, events.ObservationReceived, events.ObservationsPurged)


def fold(table: dict[str, Source], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    old = table.get(event.source) or Source(source=event.source, made=entry.n, n=entry.n)
    match event:
        case events.ObservationReceived(number=number, bytes=size):
            new = changed(old, received=number, bytes=old.bytes + size, last_received_at=entry.at, n=entry.n)
        case events.ObservationsPurged(upto=upto, bytes=size, rest=rest):
            new = changed(old, purged=upto, bytes=old.bytes - size, rest=rest, n=entry.n)
        case _:
            new = changed(old, n=entry.n)
    table[event.source] = new
    return (event.source,)


def read(document: dict[str, Any]) -> Source:
    """Return the state that a document of the index describes."""
    value: Source = adapter(Source).validate_python(document)
    return value


def find(state: State, source_id: str) -> Source:
    """Return the state of a source whose owner is loaded."""
    return state.find(Source, source_id) or Source(source=source_id, made=0, n=0)


NOUN = Noun(
    name="source",
    cls=Source,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Source], entry),
    keep=always,
    view=lambda source: source,
    status=lambda _: "known",
    read=read,
)
