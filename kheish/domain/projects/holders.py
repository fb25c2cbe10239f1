"""The agents that hold a claim, over all projects: an agent works on one task at a time.

The registry is in memory, and is rebuilt from the index at the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kheish.domain import events
from kheish.domain.projects.task import ProjectTask, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kheish.state.event import Event
    from kheish.state.state import State

_ENDS = (
    events.ProjectTaskReleased,
    events.ProjectTaskReviewed,
    events.ProjectTaskEnded,
    events.ProjectTaskDeleted,
)


class Holders:
    """The claims of agents by session, and the tasks by run."""

    def __init__(self) -> None:
        self.by_session: dict[str, str] = {}  # the key of the task
        self.by_run: dict[str, tuple[str, str]] = {}  # the project and the task
        self._sessions: dict[str, tuple[str, str | None]] = {}  # by key of the task: its session and its run

    def note(self, event: Event) -> None:
        """Bring the registry to an event of a task."""
        if isinstance(event, events.ProjectTaskClaimed):
            self._drop(key_of(event.project, event.task_id))
            if event.session_id is not None:
                self._add(event.project, event.task_id, event.session_id, event.run_id)
        elif isinstance(event, _ENDS):
            self._drop(key_of(event.project, event.task_id))

    def learn(self, doc: Mapping[str, Any]) -> None:
        """Add the claim of a task by its document."""
        claim = doc["claim"]
        if claim is not None and claim["session_id"] is not None:
            self._add(doc["project"], doc["task_id"], claim["session_id"], claim["run_id"])

    def _add(self, project: str, task_id: str, session_id: str, run_id: str | None) -> None:
        key = key_of(project, task_id)
        self.by_session[session_id] = key
        self._sessions[key] = (session_id, run_id)
        if run_id is not None:
            self.by_run[run_id] = (project, task_id)

    def _drop(self, key: str) -> None:
        session_id, run_id = self._sessions.pop(key, (None, None))
        if session_id is not None and self.by_session.get(session_id) == key:
            del self.by_session[session_id]
        if run_id is not None:
            self.by_run.pop(run_id, None)


def of(state: State) -> Holders:
    """Return the registry of a daemon."""
    holders = state.derived.get(Holders)
    if holders is None:
        holders = state.derived[Holders] = Holders()
    assert isinstance(holders, Holders)
    return holders


def busy(state: State, session_id: str, but: ProjectTask) -> str | None:
    """Return the key of another task that the agent of a session holds."""
    key = of(state).by_session.get(session_id)
    return key if key is not None and key != but.key else None
