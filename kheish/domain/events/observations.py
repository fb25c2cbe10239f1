"""Events of observations: entries of the stream `observations`, one journal for each source.

The content is in files beside the journals, so that it can be purged; entries hold what stays.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.domain.events.runs import Idempotency
from kheish.domain.shown import View
from kheish.state.event import Event, frozen

OBSERVATIONS = "observations"
ObservationKind = Literal["text", "log", "json", "image", "audio", "html"]


@frozen
class ObservationFile(View):
    """A file with the contents of consecutive observations, one per line."""

    shown_as = "ObservationFile"
    batch_id: str
    path: str
    """Its place in the state root; an encrypted one ends in `.age`."""
    sha256: str
    bytes: int
    first: int
    """The number of its first observation in the source."""
    count: int


@frozen
class ObservationsStored(Event):
    """A batch whose file is on disk; its observations follow in the same group."""

    kind = "observations.stored"
    stream = OBSERVATIONS
    owned_by = "source"
    journal_per_owner = True
    source: str
    file: ObservationFile
    idempotency: Idempotency | None = None


@frozen
class ObservationReceived(Event):
    """An observation without its content. The metadata of a source that must forget is part of the content."""

    kind = "observation.received"
    stream = OBSERVATIONS
    owned_by = "source"
    journal_per_owner = True
    source: str
    observation_id: str
    batch_id: str
    number: int  # in its source, from 1
    observation_kind: ObservationKind
    bytes: int
    captured_at: str
    source_stream: str | None = None
    sequence: int | None = None
    group: str | None = None
    asset_id: str | None = None
    media_type: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@frozen
class ObservationsPurged(Event):
    """The end of the contents up to a number. `files` leave the tree; `rest` is the new file of those that remain of
    the last batch."""

    kind = "observations.purged"
    stream = OBSERVATIONS
    owned_by = "source"
    journal_per_owner = True
    headline = "observations purged: {count} of {source}"
    source: str
    upto: int
    count: int
    bytes: int
    reason: Literal["age", "count", "bytes"]
    files: tuple[str, ...] = ()
    rest: ObservationFile | None = None
