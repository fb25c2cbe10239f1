"""The facts of a run that was started or looked up, and the time of a wait.

`connection.py` and `aio_connection.py` add following.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from kheish.client import requests
from kheish.client.call import Call

if TYPE_CHECKING:
    from kheish.client.shapes import RunError, RunView
    from kheish.client.sse import Event

FINAL = frozenset({"completed", "failed", "cancelled", "interrupted"})
RUN_ENDS = frozenset(f"run.{status}" for status in FINAL)
#: seconds of one long poll, and the extra time for a slow daemon
_POLL, _MARGIN = 60.0, 1.0


class RunFacts:
    """Read-only access to a run as last reported by the daemon; `data` is its JSON."""

    def __init__(self, data: RunView) -> None:
        self.data = data

    @property
    def run_id(self) -> str:
        return self.data["run_id"]

    @property
    def session_id(self) -> str:
        return self.data["session_id"]

    @property
    def status(self) -> str:
        return self.data["status"]

    @property
    def done(self) -> bool:
        """Return whether the run is final."""
        return self.status in FINAL

    @property
    def output(self) -> str | None:
        """The final text; None until the run is completed."""
        return self.data["output"]

    @property
    def error(self) -> RunError | None:
        return self.data["error"]

    @property
    def needs_user(self) -> bool:
        """Return whether the run waits for an approval or an answer."""
        return self.status in ("waiting_for_approval", "waiting_for_question")

    @property
    def waits_for(self) -> tuple[list[str], list[str]]:
        """The ids of the approvals and of the questions that a user has to answer now."""
        return self.data["pending_approvals"], self.data["pending_questions"]

    def __repr__(self) -> str:
        return f"<Run {self.run_id} {self.status}>"

    def overdue(self) -> TimeoutError:
        """Return the error for a wait that timed out."""
        return TimeoutError(f"{self.run_id} is {self.status} and continues; wait again, or follow it.")


class Deadline:
    """The time left for a wait, and the pauses between attempts to reach a daemon that restarts."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout
        self._pause = 0.05

    @property
    def left(self) -> float:
        """The seconds left; infinite without a timeout."""
        return math.inf if self._end is None else max(0.0, self._end - time.monotonic())

    def poll(self, run_id: str) -> Call[RunView]:
        """Return a long poll of a run: the response comes when the run ends, waits for a user, or the time is over."""
        wait = max(0.0, min(self.left, _POLL))
        return replace(requests.get_run(run_id, wait=f"{wait * 1000:.0f}ms"), patience=wait + _MARGIN)

    def pause(self) -> float:
        """Return the seconds to wait before the next attempt.

        The pause doubles up to a second, because a daemon that stops answers a long poll at once.
        """
        pause, self._pause = self._pause, min(1.0, 2 * self._pause)
        return min(pause, self.left)


def is_seal(event: Event, flow_id: str) -> bool:
    """Return whether the event is the last of this Flow."""
    return event.kind == "flow.sealed" and event.data.get("flow_id") == flow_id
