"""The wait of a run for an unavailable model server."""

from __future__ import annotations

from kheish import ids
from kheish.domain import events
from kheish.domain.events import frozen
from kheish.domain.shown import View


@frozen
class WaitsFor(View):
    """A model server that a run waits for: the last failure, and the time of the next attempt (null during one)."""

    shown_as = "RunWait"
    route: str
    code: str
    message: str
    attempts: int
    since: str
    until: str | None


def after(before: WaitsFor | None, failed: events.ModelFailed, at: str) -> WaitsFor | None:
    """Return the wait of the run after a failed attempt; None if it continues at once, or ends."""
    if not failed.retry_in and before is None:
        return None
    return WaitsFor(
        route=failed.route,
        code=failed.error.code,
        message=failed.error.message,
        attempts=before.attempts + 1 if before else 1,
        since=before.since if before else at,
        until=ids.stamp(ids.seconds_of(at) + failed.retry_in) if failed.retry_in else None,
    )
