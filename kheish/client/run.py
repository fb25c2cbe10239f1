"""What a started run shows of itself; `sync.py` and `aio.py` add how it is followed."""

from __future__ import annotations

from kheish.client.shapes import FINAL, RunError, RunView


class RunFacts:
    """Read-only access to a run as the daemon last described it; `data` is its JSON."""

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
        """True once no further change can come."""
        return self.status in FINAL

    @property
    def output(self) -> str | None:
        """The final text; None until the run is completed."""
        return self.data["output"]

    @property
    def error(self) -> RunError | None:
        return self.data["error"]

    @property
    def waits_for(self) -> tuple[list[str], list[str]]:
        """The ids of the approvals and of the questions that a person has to answer now."""
        return self.data["pending_approvals"], self.data["pending_questions"]

    def __repr__(self) -> str:
        return f"<Run {self.run_id} {self.status}>"
