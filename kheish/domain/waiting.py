"""The waits of a run: for an unavailable model server, and for any other thing or person, in one form."""

from __future__ import annotations

from typing import Literal

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


@frozen
class WaitingOn(View):
    """The thing or person that a run waits for, and since when. The status is still `running` for `model`, `mcp` and
    `worker`."""

    shown_as = "RunWaitingOn"
    kind: Literal["model", "mcp", "worker", "approval", "question", "agent"]
    what: str
    """The route, the tool of the MCP server, the worker, or the ids of the approval, the question or the agents."""
    since: str


@frozen
class LostWorker:
    """A worker that is not connected while a call is open there."""

    worker: str
    since: str


@frozen
class McpCall:
    """A call of an MCP server's tool that has not ended."""

    call_id: str
    tool: str
    since: str


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
