"""Events of sessions: creation, fork, changes, end and removal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from kheish.state.event import Event, frozen


@frozen
class SessionCreated(Event):
    kind = "session.created"
    headline = "session created: {session}"
    opens = True
    path: str  # the session's folder in the state root
    agent_id: str
    settings: dict[str, Any]


@frozen
class SessionForked(SessionCreated):
    """A session that begins with the history of another, up to its entry `seq` (event `at_n`), in `forked/`.

    `commit` is the first commit that holds that entry; None if it was not committed yet.
    """

    kind = "session.forked"
    headline = "session forked: {session} from {origin} at {seq}"
    inherits = True
    written: ClassVar[Mapping[str, str]] = {"origin": "from"}
    origin: Annotated[str, Field(alias="from")]
    seq: int
    at_n: int
    commit: str | None
    segments: int  # files in forked/
    spills: tuple[str, ...] = ()  # payloads that were copied
    tainted_by: str | None = None  # as in the source session at that time


@frozen
class SessionDeleted(Event):
    """The removal of a session's folder from the tree. Its id is never reused; git's history keeps the folder."""

    kind = "session.deleted"
    stream = "daemon"
    headline = "session deleted: {session_id}"
    session_id: str
    path: str
    made: int  # the event that created it
    last_n: int


@frozen
class SessionUpdated(Event):
    kind = "session.updated"
    changes: dict[str, Any]


@frozen
class SessionEnded(Event):
    kind = "session.ended"
    headline = "session ended: {session}"
    reason: str | None = None


@frozen
class RuleAdded(Event):
    kind = "session.rule_added"
    rule: dict[str, Any]
