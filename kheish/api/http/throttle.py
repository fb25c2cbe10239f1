"""How much one caller may ask for: requests in a second, and streams at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from kheish.errors import TooMany


class Rates:
    """For each caller a bucket that fills at the rate that is allowed, and holds a second's worth."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def count(self, caller: str, rate: int | None) -> None:
        """Note a request. Raises TooMany where it is one too many; it is not counted then."""
        if rate is None:
            return
        now = self._clock()
        left, at = self._left.get(caller, (float(rate), now))
        left = min(float(rate), left + (now - at) * rate)
        if left < 1:
            raise TooMany(
                f"{caller} asks more than {rate} times in a second (api.requests_per_second in kheish.yaml); wait a "
                "moment, and ask again.",
                retry_after=1,
            )
        self._left[caller] = left - 1, now


class Streams:
    """Open event streams by caller."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def opened(self, caller: str) -> None:
        self._open[caller] += 1

    def closed(self, caller: str) -> None:
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]

    def check(self, caller: str, most: int | None) -> None:
        """Raises TooMany where the caller has as many as it may."""
        if most is not None and self._open[caller] >= most:
            raise TooMany(
                f"{caller} has {most} open event streams (api.streams in kheish.yaml); close some. One stream of "
                "/v1/events has the events of all sessions.",
                retry_after=5,
            )
