"""Observations and their batches. Only the index keeps them: nothing changes them, and whether a content is purged
follows from its number (`source.Source.purged`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Any

from kheish.domain import events
from kheish.domain.events import Entry, Event, ObservationFile, ObservationKind, frozen
from kheish.domain.observations.source import Source
from kheish.domain.shown import View
from kheish.errors import NotFound
from kheish.state.event import adapter
from kheish.state.noun import Noun

PREFIX = "obs"


@frozen
class Observation(View):
    """An observation without its content."""

    shown_as = "ObservationRecord"
    observation_id: str
    source: str
    batch_id: str
    number: int
    place: str
    """Its source and number, by which the index finds it."""
    kind: ObservationKind
    bytes: int
    captured_at: str
    received_at: str
    received_by: str
    made: int
    n: int
    stream: str | None = None
    sequence: int | None = None
    group: str | None = None
    asset_id: str | None = None
    media_type: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@frozen
class Batch(View):
    """Observations that were stored together, in a file."""

    shown_as = "ObservationBatch"
    batch_id: str
    source: str
    file: ObservationFile
    made: int
    n: int


def place(source: str, number: int) -> str:
    """Return the key by which the index finds an observation of a source."""
    return f"{source}:{number}"


def moment_of(one: Observation) -> str:
    """Return the time by which an observation is selected: that of its capture, or of its receipt if its sender's
    clock is ahead."""
    return min(one.captured_at, one.received_at)


def fold(table: dict[str, Observation], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    table[event.observation_id] = Observation(
        observation_id=event.observation_id,
        source=event.source,
        batch_id=event.batch_id,
        number=event.number,
        place=place(event.source, event.number),
        kind=event.observation_kind,
        bytes=event.bytes,
        captured_at=event.captured_at,
        received_at=entry.at,
        received_by=entry.actor,
        made=entry.n,
        n=entry.n,
        stream=event.source_stream,
        sequence=event.sequence,
        group=event.group,
        asset_id=event.asset_id,
        media_type=event.media_type,
        metadata=event.metadata,
    )
    return (event.observation_id,)


def fold_batch(table: dict[str, Batch], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    table[event.file.batch_id] = Batch(
        batch_id=event.file.batch_id, source=event.source, file=event.file, made=entry.n, n=entry.n
    )
    return (event.file.batch_id,)


def read(document: dict[str, Any]) -> Observation:
    """Return the observation that a document of the index describes."""
    value: Observation = adapter(Observation).validate_python(document)
    return value


def read_batch(document: dict[str, Any]) -> Batch:
    """Return the batch that a document of the index describes."""
    value: Batch = adapter(Batch).validate_python(document)
    return value


def files_of(event: Event) -> Iterator[str]:
    """Yield the files in the state root that an event names; they were written before it."""
    match event:
        case events.ObservationsStored(file=file) | events.ObservationsPurged(rest=ObservationFile() as file):
            yield file.path


def is_retained(observation: Observation, source: Source) -> bool:
    """Return whether an observation still has its content."""
    return observation.number > source.purged


def missing(observation_id: str) -> NotFound:
    """Return the error for an id without an observation."""
    return NotFound(f"There is no observation {observation_id[:200]!r}.")


def _never(_: Any) -> bool:
    """Return whether a value stays in memory (`Noun.keep`): it never does."""
    return False


NOUN = Noun(
    name="observation",
    cls=Observation,
    folded=frozenset({events.ObservationReceived}),
    fold=lambda tables, entry: fold(tables[Observation], entry),
    keep=_never,
    view=lambda observation: observation,
    status=lambda observation: str(observation.kind),
    filters=("stream", "group", "asset_id", "batch_id", "place"),
    read=read,
)
BATCH = Noun(
    name="observation_batch",
    cls=Batch,
    folded=frozenset({events.ObservationsStored}),
    fold=lambda tables, entry: fold_batch(tables[Batch], entry),
    keep=_never,
    view=lambda batch: batch,
    status=lambda _: "stored",
    read=read_batch,
)
