"""Approvals and a question that nobody answers for many rounds: after each kill they wait as before, word for word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.journals import Finding
from tests.crash.load import HELD
from tests.support.daemon import Daemon, until

#: session → its route, and what its run waits with
_KINDS = {"asks": "approvals", "question": "questions"}


@dataclass
class Held:
    """What waits; `acks` is told of what was acknowledged."""

    daemon: Daemon
    acks: Mapping[str, list[dict[str, Any]]]
    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)  # id → what the API said of it
    _count: int = 0

    def begin(self) -> None:
        """Make a session and a run for each kind, and remember what they ask."""
        for route, noun in _KINDS.items():
            self._count += 1
            session = f"{HELD}{self._count}"
            self.daemon.client.sessions.create(session, route=route)
            run = self.daemon.client.runs.start(session, session)
            self.acks["sessions"].append({"id": session, "n": 0})
            self.acks["runs"].append({"id": run.run_id, "n": 0, "session": session})
            state = self.daemon.run(run.run_id, f"waiting_for_{noun[:-1]}")
            for id in state[f"pending_{noun}"]:
                self.waiting[id] = self._get(noun, id)

    def _get(self, noun: str, id: str) -> dict[str, Any]:
        return dict(getattr(self.daemon.client, noun).get(id))

    def check(self) -> Iterator[Finding]:
        """After a restart: the same requests, word for word, and a file for each to answer in."""
        for id, before in self.waiting.items():
            noun = "approvals" if "approval_id" in before else "questions"
            if (now := self._get(noun, id)) != before:
                yield Finding("held", id, f"it was {before}, and is {now}")
            path = Path(self.daemon.root, "pending", noun, f"{id}.yaml")
            try:
                until(path.exists, what=f"{path} is there")
            except AssertionError as error:
                yield Finding("held", id, str(error))

    def end(self) -> None:
        """Answer all of them at last."""
        for id, asked in self.waiting.items():
            if "approval_id" in asked:
                self.daemon.client.approvals.allow(id)
                self.acks["approvals"].append({"id": id, "n": 0, "decision": "allow"})
            else:
                self.daemon.client.questions.decline(id)
                self.acks["questions"].append({"id": id, "n": 0, "decision": "decline"})
        for run in {asked["run_id"] for asked in self.waiting.values()}:
            self.daemon.run(run)
        self.waiting.clear()
