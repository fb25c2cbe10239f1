"""Ids, event times, durations and sizes: Kheish's names and units."""

from __future__ import annotations

import math
import os
import re
import time
from datetime import UTC, datetime
from functools import lru_cache

from kheish.errors import Invalid

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}\Z")
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)\Z")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
}  # fmt: skip

#: names that mean something else in the tree (`state-root.md`)
RESERVED = frozenset({"rejected", "observations"})
#: the largest number in documents and requests: JSON readers are exact up to here (RFC 8259, section 6)
MOST = 2**53 - 1
#: the longest duration in seconds (36500d): the present time and a duration are always a time
LONGEST = 36500 * 86400
#: the first and the last time that can be written, in seconds since 1970
EARLIEST, LATEST = -62135596800, 253402300799
_newest = [0]  # milliseconds: the time of the newest id


def new(prefix: str) -> str:
    """Return `<prefix>_<lowercase ULID>`: 48 bits of milliseconds, 80 random bits, sortable by time.

    If the clock goes back, later ids of this process still sort after earlier ones.
    """
    _newest[0] = max(_newest[0], int(time.time() * 1000))
    number = (_newest[0] << 80) | int.from_bytes(os.urandom(10), "big")
    digits = [_CROCKFORD[(number >> shift) & 31] for shift in range(125, -5, -5)]
    return f"{prefix}_{''.join(digits)}"


def is_slug(text: str) -> bool:
    """Return whether `text` may name a thing that users make (it is also a legal file and git tag name)."""
    return (
        _SLUG.match(text) is not None
        and ".." not in text
        and not text.endswith((".", ".lock"))
        and text not in RESERVED
    )


def check_slug(text: str, what: str = "id") -> str:
    """Return `text`, or raise Invalid with the rule that it breaks."""
    if text in RESERVED:
        raise Invalid(f"{what} {text!r} is reserved; choose another.")
    if not is_slug(text):
        raise Invalid(
            f"{what} {text!r} is not a legal name: use 1 to 128 of a-z, 0-9, '.', '_', '-', starting with a letter or "
            "digit, without '..', not ending in '.' or '.lock'."
        )
    return text


def now() -> str:
    """Return the time as RFC 3339 in UTC with microseconds."""
    return stamp(time.time())


def stamp(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339 in UTC with microseconds; a time outside of the years 1 to 9999 as the
    nearest within."""
    whole, micros = divmod(round(min(max(seconds, EARLIEST), LATEST) * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def seconds_of(text: str) -> float:
    """Return an RFC 3339 time as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def day(at: str) -> str:
    """Return the UTC day of an RFC 3339 time, as used in folder names."""
    return at[:10]


def duration(text: str) -> float:
    """Return `90s`, `15m`, `7d`, `50ms` as seconds. Raises ValueError."""
    found = _DURATION.match(text)
    if not found:
        raise ValueError(f"{text!r} is not a duration: write a number and one of ms, s, m, h, d, w, such as 90s")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > LONGEST:
        raise ValueError(f"{_beginning(text)} is too long; the most is {LONGEST // 86400}d")
    return seconds


def size(text: str | int) -> int:
    """Return `12MiB`, `64kB` or a plain number as bytes. Raises ValueError."""
    if isinstance(text, int):
        count = float(text) if abs(text) <= MOST else math.inf
    else:
        found = _SIZE.match(text)
        if not found:
            raise ValueError(f"{text!r} is not a size: write a number and one of {', '.join(_BYTES)}, such as 12MiB")
        count = float(found[1]) * _BYTES[found[2] or "B"]
    if count > MOST:
        raise ValueError(f"{_beginning(str(text))} is too large; the most is {MOST // 1024**3}GiB")
    return int(count)


def _beginning(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}…"
