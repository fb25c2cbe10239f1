"""Ids, event times, durations and sizes: Kheish's names and units."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from functools import lru_cache

from kheish.errors import Invalid

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}\Z")
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)\Z")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
}  # fmt: skip

#: names that mean something else in the tree (`state-root.md`)
RESERVED = frozenset({"rejected", "observations"})
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
    """Return seconds since the epoch as RFC 3339 in UTC with microseconds."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


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
    return float(found[1]) * _SECONDS[found[2]]


def size(text: str | int) -> int:
    """Return `12MiB`, `64kB` or a plain number as bytes. Raises ValueError."""
    if isinstance(text, int):
        return text
    found = _SIZE.match(text)
    if not found:
        raise ValueError(f"{text!r} is not a size: write a number and one of {', '.join(_BYTES)}, such as 12MiB")
    return int(float(found[1]) * _BYTES[found[2] or "B"])
