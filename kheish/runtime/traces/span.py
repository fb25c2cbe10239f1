"""A span as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Value = str | bool | int | float | Sequence[str]
Kind = Literal["internal", "client"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened during a span."""

    name: str
    at: int
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span; times are in nanoseconds since 1970. `error` is the reason of a failure. `link` is a `traceparent`."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    start: int
    end: int
    kind: Kind = "internal"
    attributes: Mapping[str, Value] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()
    error: str | None = None
    link: str | None = None


def nanoseconds(at: str) -> int:
    """Return the time of an entry in nanoseconds since 1970."""
    moment = datetime.fromisoformat(at)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
