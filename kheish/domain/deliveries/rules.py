"""The times of attempts, as pure functions: pauses between them, the circuit of a target, and how many at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

#: the first pause in seconds
FIRST = 1.0
#: failures in a row that open the circuit of a target
FAILURES = 3
_LONGEST_PAUSE = 86_400.0


def pause(delivery_id: str, attempts: int, *, most: float, retry_after: float | None = None) -> float:
    """Return the seconds after a failed attempt: doubled each time, up to `most`, with a jitter that follows from the
    delivery and the attempt. A receiver that asks for more gets more."""
    doubled: float = min(most, FIRST * 2.0 ** min(max(attempts - 1, 0), 40))
    seed = hashlib.sha256(f"{delivery_id}/{attempts}".encode()).digest()
    share = int.from_bytes(seed[:4], "big") / 2**32
    own = doubled * (0.5 + share / 2)
    return max(own, min(retry_after or 0.0, _LONGEST_PAUSE))


def is_over(since: float, now: float, *, give_up: float, after: float = 0.0) -> bool:
    """Return whether the time of a delivery is over, or would be over at its next attempt."""
    return now + after - since >= give_up


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of a target: `failures` in a row, and the time until which it is left alone."""

    failures: int = 0
    until: float = 0.0

    @property
    def is_probing(self) -> bool:
        """Return whether a single attempt has to show that the target is back."""
        return self.failures >= FAILURES

    def failed(self, now: float, delay: float) -> Circuit:
        """Return the circuit after a failed attempt whose pause is `delay`."""
        failures = self.failures + 1
        until = max(self.until, now + delay) if failures >= FAILURES else self.until
        return Circuit(failures, until)

    def throttled(self, until: float) -> Circuit:
        """Return the circuit after the target asked for a pause."""
        return replace(self, until=max(self.until, until))

    def answered(self) -> Circuit:
        """Return the circuit after an attempt that the target answered, with a success or a refusal."""
        return Circuit(0, self.until if self.failures < FAILURES else 0.0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that waits: `made` is its place in the order, `at` the time of its next attempt."""

    delivery_id: str
    session_id: str
    made: int
    at: float = 0.0


def room(circuit: Circuit, now: float, running: int, *, is_strict: bool, at_once: int) -> int:
    """Return how many attempts at a target may begin now."""
    if now < circuit.until:
        return 0
    most = 1 if is_strict or circuit.is_probing else at_once
    return max(0, most - running)
