"""A span as data, with ids that follow from what it stands for: the same after a restart."""

from __future__ import annotations

import hashlib
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


def trace_id(run_id: str) -> int:
    """Return the id of a run's trace: the beginning of its SHA-256."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:16], "big")


def span_id(run_id: str, *parts: str | int) -> int:
    """Return the id of a span of a run, from the turn, the attempt or the call that it stands for."""
    name = "/".join((run_id, *map(str, parts)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def nanoseconds(at: str) -> int:
    """Return the time of an entry in nanoseconds since 1970."""
    moment = datetime.fromisoformat(at)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
