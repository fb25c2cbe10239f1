"""The rates of sources: the most observations that each may send in a period."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from kheish.errors import Invalid, RateExceeded


class Rates:
    """Token buckets by source; a bucket holds the observations of one period, and fills evenly."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, source: str, limit: tuple[int, float] | None, count: int) -> None:
        """Count observations. Raises RateExceeded above the rate, without counting them; Invalid if they never fit."""
        if limit is None:
            self._left.pop(source, None)
            return
        most, period = limit
        if count > most:
            raise Invalid(
                f"{count} observations come at once, and the source {source!r} accepts {most} in {period:g} s; send "
                "fewer at a time."
            )
        now = self._clock()
        left, at = self._left.get(source, (float(most), now))
        left = min(float(most), left + (now - at) * most / period)
        if left < count:
            wait = max(1, math.ceil((count - left) * period / most))
            raise RateExceeded(
                f"The source {source!r} sends more than {most} observations in {period:g} s; retry after {wait} s.",
                retry_after=wait,
            )
        self._left[source] = left - count, now
