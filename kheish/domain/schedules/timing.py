"""Occurrences of a cadence: pure functions of times, in seconds since the epoch.

Occurrences are at whole seconds, so that a time that was written and read back is the same.

`cron` is interpreted by cronsim, as Debian's cron does it: a fixed time that a zone skips occurs at the first valid
minute, a fixed time that a zone repeats occurs once, and a wildcard or a step in minute or hour keeps its real cadence.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kheish import ids
from kheish.state.event import frozen

LEAST_EVERY = 5
#: missed occurrences that are listed one by one; those before them are a range
MOST_MISSED = 1000
MACROS: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = 5
_LONGEST_CRON = 200
_BUCKETS = 10_000
_DAY = 86_400
_LONGEST_SHIFT = 3 * 3600  # no zone moves its clock by more at once
#: occurrences end before this year: the last that every zone can write
END_YEAR = 9999
_END = int(datetime(END_YEAR, 1, 1, tzinfo=UTC).timestamp())
_LOCALTIME = "/etc/localtime"


@frozen
class Cadence:
    """The times of a schedule: exactly one of `at`, `every` and `cron`. `text` is the cadence as written."""

    text: str
    zone: str
    at: int | None = None
    every: int | None = None
    cron: str | None = None


@frozen
class Missed:
    """Occurrences up to a time: the newest in `times` (oldest first), and the range of those before them."""

    times: tuple[int, ...]
    earlier: tuple[int, int] | None = None


# --- validation -------------------------------------------------------------------------------------------------------


def check_zone(name: str) -> str:
    """Return the name of a time zone. Raises ValueError for a missing one."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write a name such as Europe/Berlin or UTC") from None
    return name


def check_cron(text: str) -> str:
    """Return a cron expression. Raises ValueError for one that is invalid, has seconds, or never occurs."""
    expression = _expression(text)
    words = expression.split()
    if text.startswith("@") and text.lower() not in MACROS:
        raise ValueError(f"{text!r} is not known here; the names are {', '.join(MACROS)}")
    if len(words) == _FIELDS + 1:
        raise ValueError(
            "has six fields; cron has five (minute hour day month weekday), and for seconds there is `every: 10s`"
        )
    if len(words) != _FIELDS or len(text) > _LONGEST_CRON:
        raise ValueError("must have five fields: minute hour day month weekday, such as 0 9 * * 1-5")
    try:
        first = next(_forward(expression, "UTC", 0), None)
    except ValueError as error:
        raise ValueError(f"{error}; the fields are minute hour day month weekday, such as 0 9 * * 1-5") from None
    if first is None:
        raise ValueError("never occurs: no date fits it")
    return text


def instant(text: str, zone: str) -> int:
    """Return a date and time as seconds; without an offset, it is in the zone. Raises ValueError."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write 2026-12-01T09:00Z, or without Z for the timezone") from None
    if "T" not in text and " " not in text:
        raise ValueError(f"{text!r} is a date without a time; write 2026-12-01T09:00")
    if when.tzinfo is None:
        when = when.replace(tzinfo=ZoneInfo(zone))
        if (valid := _after_gap(when)) is not None:
            return valid
    if not 1970 < when.year < END_YEAR:
        raise ValueError(f"{text!r} is not within the years 1971 to {END_YEAR - 1}")
    return math.ceil(when.timestamp())


def _after_gap(when: datetime) -> int | None:
    """Return the first valid minute, as seconds, for a local time that its zone skips; None for any other."""
    zone = when.tzinfo
    assert isinstance(zone, ZoneInfo)
    early, late = (when.replace(fold=fold) for fold in (1, 0))
    if (early.utcoffset() or timedelta()) <= (late.utcoffset() or timedelta()):
        return None
    before, after = math.floor(early.timestamp()), math.ceil(late.timestamp())
    change = _change(zone, _offset(zone, before), before, after, 1)
    return change + 1 if change is not None else None


def local_zone(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of this machine's time zone; UTC if it has none. Blocks on disk."""
    for name in (environ.get("TZ", "").removeprefix(":"), _linked_zone()):
        try:
            if name:
                return check_zone(name)
        except ValueError:
            continue
    return "UTC"


def _linked_zone() -> str:
    try:
        return str(Path(_LOCALTIME).readlink()).rpartition("zoneinfo/")[2]
    except OSError:
        return ""


# --- occurrences ------------------------------------------------------------------------------------------------------


def after(cadence: Cadence, anchor: int, moment: float) -> int | None:
    """Return the first occurrence after a moment; None if there is no more that can be written in every zone."""
    found = _after(cadence, anchor, moment)
    return found if found is None or found < _END else None


def _after(cadence: Cadence, anchor: int, moment: float) -> int | None:
    if cadence.at is not None:
        return cadence.at if cadence.at > moment else None
    if cadence.every is not None:
        steps = math.floor((moment - anchor) / cadence.every) + 1
        return anchor + max(steps, 1) * cadence.every
    return next(_forward(_expression(cadence.cron or ""), cadence.zone, moment), None)


def upcoming(cadence: Cadence, anchor: int, first: int | None, count: int) -> list[int]:
    """Return `first` and the occurrences after it, at most `count`."""
    times: list[int] = []
    while first is not None and len(times) < count:
        times.append(first)
        first = after(cadence, anchor, first)
    return times


def missed(cadence: Cadence, anchor: int, first: int, upto: float, most: int = MOST_MISSED) -> Missed:
    """Return the occurrences from `first` (which is one) up to a time. Costs at most `most` of them."""
    if upto < first:
        return Missed(times=())
    backward = list(islice(_backward(cadence, anchor, first, upto), most + 1))
    if len(backward) <= most:
        return Missed(times=tuple(reversed(backward)))
    return Missed(times=tuple(reversed(backward[:most])), earlier=(first, backward[most]))


def _backward(cadence: Cadence, anchor: int, first: int, upto: float) -> Iterator[int]:
    """Yield the occurrences from `upto` back to `first`."""
    if cadence.every is not None:
        last = first + math.floor((upto - first) / cadence.every) * cadence.every
        yield from range(last, first - 1, -cadence.every)
    elif cadence.cron is None:
        yield first
    else:
        for moment in _reverse(_expression(cadence.cron), cadence.zone, upto):
            if moment < first:
                return
            yield moment


def jitter(schedule_id: str, most: float) -> int:
    """Return the delay of a schedule's occurrences, in whole seconds up to `most`: always the same, so that their
    order and distance stay."""
    digest = hashlib.sha256(schedule_id.encode()).digest()
    return int(int.from_bytes(digest[:8], "big") % _BUCKETS / _BUCKETS * most)


def shown(moment: int | None) -> str | None:
    """Return a time as events have it."""
    return None if moment is None else ids.stamp(moment)


def local(moment: int, zone: str) -> str:
    """Return a time as it is written in a zone."""
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat()


def read(text: str) -> int:
    """Return a time of an event as seconds."""
    return round(ids.seconds_of(text))


# --- cron -------------------------------------------------------------------------------------------------------------


def _expression(text: str) -> str:
    return MACROS.get(text.lower(), text)


def _forward(expression: str, zone: str, moment: float) -> Iterator[int]:
    """Yield the occurrences after a moment. Raises ValueError for an invalid expression."""
    if _has_real_cadence(expression):
        yield from _by_offset(expression, ZoneInfo(zone), math.floor(moment), 1)
        return
    for found in _simulated(expression, ZoneInfo(zone), math.floor(moment), 1):
        if found > moment:  # in the second half of a repeated time, the first half's occurrences come again
            yield found


def _reverse(expression: str, zone: str, moment: float) -> Iterator[int]:
    """Yield the occurrences up to a moment, newest first."""
    if _has_real_cadence(expression):
        yield from _by_offset(expression, ZoneInfo(zone), math.floor(moment) + 1, -1)
        return
    for found in _simulated(expression, ZoneInfo(zone), math.floor(moment) + _LONGEST_SHIFT, -1):
        if found <= moment:
            yield found


def _has_real_cadence(expression: str) -> bool:
    """Return whether minute or hour is a wildcard or a step of one: such times follow the real time."""
    return any(field.startswith("*") for field in expression.split()[:2])


def _by_offset(expression: str, zone: ZoneInfo, moment: int, way: int) -> Iterator[int]:
    """Yield the occurrences after (`way` 1) or before (-1) a moment, for each stretch of time with the same offset from
    UTC. (cronsim itself omits some where the offset changes by half an hour.)"""
    while True:
        offset = _offset(zone, moment + way)
        for found in _simulated(expression, timezone(offset), moment, way):
            change = _change(zone, offset, moment, found, way)
            if change is not None:
                moment = change
                break
            yield found
            moment = found
        else:
            return


def _change(zone: ZoneInfo, offset: timedelta, start: int, end: int, way: int) -> int | None:
    """Return the moment between two from which on (or up to which) the offset is another; None if it is the same."""
    near = far = start + way
    while far != end:
        far = min(far + _DAY, end) if way > 0 else max(far - _DAY, end)
        if _offset(zone, far) != offset:
            break
        near = far
    else:
        return None
    while abs(far - near) > 1:
        middle = (near + far) // 2
        near, far = (middle, far) if _offset(zone, middle) == offset else (near, middle)
    return far - way


def _offset(zone: ZoneInfo, moment: int) -> timedelta:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    assert offset is not None
    return offset


def _simulated(expression: str, zone: tzinfo, moment: int, way: int) -> Iterator[int]:
    from cronsim import CronSim, CronSimError

    try:
        simulated = CronSim(expression, datetime.fromtimestamp(moment, zone), reverse=way < 0)
    except CronSimError as error:
        raise ValueError(str(error).lower()) from None
    return (round(found.timestamp()) for found in simulated)
