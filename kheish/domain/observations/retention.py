"""SourceRetention: the decision which of the oldest observations lose their contents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from kheish import ids
from kheish.domain.events import frozen
from kheish.domain.observations.definition import SourceRetention
from kheish.domain.observations.observation import Observation
from kheish.domain.observations.source import Source

Reason = Literal["age", "count", "bytes"]


@frozen
class Due:
    """The contents to purge: up to which number, how many, their bytes, and the limit that asks for it."""

    upto: int
    count: int
    bytes: int
    reason: Reason


def is_exceeded(retention: SourceRetention, source: Source) -> bool:
    """Return whether a source keeps more than its limits of number and size."""
    count, size = retention.count, retention.bytes
    return (count is not None and source.retained > count) or (
        size is not None and source.retained > 0 and source.bytes > size
    )


def due(retention: SourceRetention, source: Source, oldest: Iterable[Observation], now: float) -> Due | None:
    """Return what to purge of the oldest observations, which are given in the order of their numbers; None: nothing."""
    upto = count = size = 0
    reason: Reason | None = None
    for one in oldest:
        why = _reason(retention, source.retained - count, source.bytes - size, one, now)
        if why is None:
            break
        upto, count, size, reason = one.number, count + 1, size + one.bytes, reason or why
    return Due(upto=upto, count=count, bytes=size, reason=reason) if reason is not None else None


def _reason(retention: SourceRetention, retained: int, size: int, oldest: Observation, now: float) -> Reason | None:
    if retention.count is not None and retained > retention.count:
        return "count"
    if retention.bytes is not None and size > retention.bytes:
        return "bytes"
    if retention.age is not None and ids.seconds_of(oldest.received_at) + ids.duration(retention.age) <= now:
        return "age"
    return None
