"""Rate limits per caller: requests per second, concurrent streams, and refusals per minute."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable

from falcon.asgi import Request

from kheish.auth import audit
from kheish.errors import StoreFailed, TooMany
from kheish.state.state import State

FAILURES, WITHIN = 60, 60.0
_ADDRESSES = 10_000


class Rates:
    """Token buckets by caller. A bucket fills at the permitted rate, and holds the requests of one second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def count(self, caller: str, rate: int | None) -> None:
        """Count a request. Raises TooMany above the rate, without counting the request."""
        if rate is None:
            return
        now = self._clock()
        remaining, at = self._left.get(caller, (float(rate), now))
        remaining = min(float(rate), remaining + (now - at) * rate)
        if remaining < 1:
            raise TooMany(
                f"{caller} sends more than {rate} requests per second (api.requests_per_second in kheish.yaml); wait a "
                "moment, and retry.",
                retry_after=1,
            )
        self._left[caller] = remaining - 1, now


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
        """Raise TooMany if the caller has reached its limit."""
        if most is not None and self._open[caller] >= most:
            raise TooMany(
                f"{caller} has {most} open event streams (api.streams in kheish.yaml); close some. One stream of "
                "/v1/events has the events of all sessions.",
                retry_after=5,
            )


class Refusals:
    """Failed authentications: each is audited, and an address has `FAILURES` in a minute."""

    def __init__(self, state: State, ready: Callable[[], str | None]) -> None:
        self._state = state
        self._ready = ready
        self._failures: dict[str, deque[float]] = {}

    def failed(self, req: Request, why: str) -> None:
        """Count a failed authentication. Raises TooMany if the address has too many."""
        self._count(req.remote_addr or "")
        self.audit(req, why)

    def audit(self, req: Request, why: str) -> None:
        """Audit a refusal: not durable before the answer, and at most `FAILURES` of an address in a minute."""
        if self._ready() is None and self._state.failure is None:
            with contextlib.suppress(StoreFailed):
                self._state.append(audit.auth_failed(req.remote_addr or "", f"{req.method} {req.path[:200]}", why).on())

    def _count(self, address: str) -> None:
        """Count a failure. Raises TooMany above the limit; a valid token is never delayed by failures."""
        now = time.monotonic()
        if len(self._failures) > _ADDRESSES:
            self._failures.clear()
        times = self._failures.setdefault(address, deque(maxlen=FAILURES))
        if len(times) == FAILURES and now - times[0] < WITHIN:
            wait = int(WITHIN - (now - times[0])) + 1
            raise TooMany(
                f"Too many requests without a valid token; wait {wait} s, or send a valid one.", retry_after=wait
            )
        times.append(now)
