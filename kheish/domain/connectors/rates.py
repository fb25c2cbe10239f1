"""Rates as users write them: `10/s`, `600/m`, `1000/h`; and the bucket that counts by one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from kheish.errors import TooMany

_RATE = re.compile(r"([1-9][0-9]{0,6})/(s|m|h)\Z")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def check(text: str) -> str:
    """Return a rate. Raises ValueError."""
    read(text)
    return text


def read(text: str) -> tuple[int, float]:
    """Return a rate as a number in a number of seconds. Raises ValueError."""
    found = _RATE.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a rate: write a number and s, m or h, such as 600/m")
    return int(found[1]), _SECONDS[found[2]]


class Buckets:
    """A token bucket for each connector: it holds the requests of one unit of time, and fills steadily."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left: dict[str, tuple[str, float, float]] = {}

    def count(self, name: str, rate: str) -> None:
        """Count a request. Raises TooMany above the rate, with the seconds until the next is accepted."""
        most, seconds = read(rate)
        now = self._clock()
        known, left, at = self._left.get(name, (rate, float(most), now))
        left = float(most) if known != rate else min(float(most), left + max(now - at, 0.0) * most / seconds)
        if left < 1:
            wait = max(1, math.ceil((1 - left) * seconds / most))
            raise TooMany(
                f"The connector {name!r} accepts {rate} (rate in its file); retry in {wait} s.", retry_after=wait
            )
        self._left[name] = (rate, left - 1, now)

    def drop(self, name: str) -> None:
        """Forget a connector."""
        self._left.pop(name, None)
