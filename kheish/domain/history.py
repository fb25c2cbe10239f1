"""A session's past: the sessions that its history passes through, and the events of an interval, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kheish.domain.sessions.session import Session
from kheish.store.git import textconv

if TYPE_CHECKING:
    from kheish.state.state import State

Place = tuple[str, int | None]
_DEEP = 100  # levels of forks that are followed


def lineage(state: State, session: Mapping[str, Any] | Session) -> list[Place]:
    """Return the session and its fork ancestors, each with the highest event that belongs to its history.

    Reads the index for sessions that are not in memory: call it in a thread, or for a loaded session.
    """
    id, origin = _of(session)
    places: list[Place] = [(id, None)]
    while origin is not None and len(places) < _DEEP:
        places.append((origin["session_id"], origin["n"]))
        before = state.find(Session, origin["session_id"]) or state.index.thing("session", origin["session_id"])
        origin = _of(before)[1] if before is not None else None
    return places


def _of(session: Mapping[str, Any] | Session) -> tuple[str, dict[str, Any] | None]:
    if isinstance(session, Session):
        return session.session_id, session.forked_from
    return session["session_id"], session["forked_from"]


def told(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return entries as readable text, as `git log -p` shows a journal."""
    return "\n".join(line for entry in entries for line in textconv.told(dict(entry)))
