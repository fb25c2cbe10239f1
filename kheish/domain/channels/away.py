"""Members whose runs cannot start for now, by session, with the reasons. Memory alone has them: after a restart, the
next attempt finds the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kheish.domain.channels.definition import ChannelFile
from kheish.domain.events import frozen

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Absence:
    """The reason why runs of a session cannot start, and the time of the next attempt."""

    until: float
    reason: str


class Away:
    """The sessions whose runs cannot start."""

    def __init__(self) -> None:
        self._sessions: dict[str, Absence] = {}

    def note(self, session_id: str, until: float, reason: str) -> None:
        """Note that the runs of a session cannot start."""
        self._sessions[session_id] = Absence(until=until, reason=reason)

    def forget(self, session_id: str) -> bool:
        """Forget that the runs of a session could not start; return whether it was so."""
        return self._sessions.pop(session_id, None) is not None

    def reasons(self, file: ChannelFile, now: float) -> dict[str, str]:
        """Return why members of a channel cannot run, by member. What is over is forgotten."""
        for session_id in [id for id, one in self._sessions.items() if one.until <= now]:
            del self._sessions[session_id]
        agents = file.agents if self._sessions else ()
        return {one.member: found.reason for one in agents if (found := self._sessions.get(one.session or ""))}

    def retry_at(self, session_id: str) -> float | None:
        """Return the time of the next attempt; None for a session whose runs can start."""
        found = self._sessions.get(session_id)
        return found.until if found is not None else None


def of(state: State) -> Away:
    """Return the absences in a daemon."""
    away: Away = state.derived.setdefault(Away, Away())
    return away
