"""Sessions: a durable conversation and control context, with one active run at a time and a queue behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kheish import ids
from kheish.domain import events
from kheish.domain.debug import Level
from kheish.domain.events import Draft, Entry, changed, frozen
from kheish.domain.permissions.rules import SHELL_TOOLS
from kheish.domain.shown import View
from kheish.domain.workers import placement
from kheish.errors import Fault, SessionConflict, SessionEnded, SessionNotIdle
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State

Status = Literal["idle", "busy", "ended"]
#: settings that a caller may give, with their defaults
SETTINGS: Mapping[str, Any] = {
    "title": None,
    "workspace": None,
    "route": None,
    "permission_mode": "default",
    "permission_rules": [],
    "persona": None,
    "labels": {},
    "budget": None,
    "input_contract": None,
    "output_contract": None,
    "reply_targets": [],
    "while_waiting": "hold",
    "capability_scope": None,
    "credential_scope": None,
    "project": None,
    "worker": None,
    "announce": [],
    "debug": None,
    "inherited": None,  # of a spawned agent: the scopes and tool policies of its parent; no request changes them
    "keeps_worker": False,  # whether its agents work where it does: a limited token created it
}
#: settings that no document shows
INTERNAL = frozenset({"inherited", "keeps_worker"})
#: a change of identity needs an idle session
IDENTITY = frozenset({"persona", "workspace", "capability_scope", "credential_scope"})


@frozen
class Session:
    """A session as recorded in the journal. `queued` are run ids in order; `active` holds the slot."""

    session_id: str
    path: str
    agent_id: str
    created_at: str
    made: int
    settings: dict[str, Any]
    ended_at: str | None = None
    forked_from: dict[str, Any] | None = None
    active: str | None = None
    queued: tuple[str, ...] = ()
    parking: frozenset[str] = field(default_factory=frozenset)  # live runs that yield the slot while they wait
    n: int = 0
    tainted_by: str | None = None  # what brought untrusted network content in: a tool, or an agent's message
    giving_way: str | None = None  # a queued run of the session's goal: each other run goes first
    compaction_requested: bool = False  # by a user; the next run summarises the conversation first

    @property
    def status(self) -> Status:
        if self.ended_at:
            return "ended"
        return "busy" if self.active else "idle"

    @property
    def worker(self) -> str | None:
        """The worker that its tools run on; None: here."""
        return self.settings.get("worker")


CREATED = (events.SessionCreated, events.SessionForked)
CHANGED = (
    events.SessionUpdated,
    events.CompactionRequested,
    events.ContextCompacted,
    events.SessionEnded,
    events.RuleAdded,
    events.RunSubmitted,
    events.RunStarted,
    events.RunResumed,
    events.RunWaiting,
    events.RunRequeued,
    events.RunCompleted,
    events.RunFailed,
    events.RunCancelled,
    events.RunInterrupted,
    events.ToolStarted,
    events.AgentSpawned,
    events.ChildSettled,
    events.ClarificationAsked,
    events.WaitEnded,
    events.MessageDelivered,
    events.RunJoinedProject,
    events.ChannelTurnTaken,
)


def fold(table: dict[str, Session], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    event = entry.event
    if isinstance(event, events.SessionCreated):
        table[entry.session] = Session(
            session_id=entry.session,
            path=event.path,
            agent_id=event.agent_id,
            created_at=entry.at,
            made=entry.n,
            settings={**SETTINGS, **event.settings},
            forked_from=_origin(event) if isinstance(event, events.SessionForked) else None,
            tainted_by=event.tainted_by if isinstance(event, events.SessionForked) else None,
            n=entry.n,
        )
    elif isinstance(event, events.ContextCompacted) and not table[entry.session].compaction_requested:
        return ()
    elif isinstance(event, _TAINTING):
        old, tainted_by = table[entry.session], _tainted_by(event)
        if old.tainted_by is not None or tainted_by is None:
            return ()
        table[entry.session] = changed(old, tainted_by=tainted_by, n=entry.n)
    else:
        old = table[entry.session]
        table[entry.session] = changed(old, n=entry.n, **_fold_change(old, entry))
        if isinstance(event, events.RunSubmitted) and event.tainted_by is not None and old.tainted_by is None:
            table[entry.session] = changed(table[entry.session], tainted_by=event.tainted_by)
    return (entry.session,)


_TAINTING = (
    events.ToolStarted,
    events.AgentSpawned,
    events.ChildSettled,
    events.ClarificationAsked,
    events.WaitEnded,
    events.MessageDelivered,
    events.RunJoinedProject,
    events.ChannelTurnTaken,
)


def _tainted_by(event: Any) -> str | None:
    """Return the tool that brought untrusted content; it may have done so in another agent's session."""
    if isinstance(event, events.ToolStarted):
        return event.tool if taints(event.tool, event.effect, event.note) else None
    tainted_by: str | None = event.tainted_by
    return tainted_by


def taints(tool: str, effect: str, note: Mapping[str, Any]) -> bool:
    """Return whether a call's result may come from the network.

    `note` is the `tool.started` of the call. An unconfined command has network access, whatever the rules say.
    """
    if note.get("tainted") is True:  # of a memory file that a tainted run wrote
        return True
    if effect != "effect" or tool == "task_stop":
        return False
    return tool not in SHELL_TOOLS or bool(note.get("network")) or note.get("confined") is not True


def _origin(event: events.SessionForked) -> dict[str, Any]:
    return {"session_id": event.origin, "seq": event.seq, "n": event.at_n, "commit": event.commit}


def _fold_change(old: Session, entry: Entry) -> dict[str, Any]:
    """Return the fields that an entry changes, so that a session is copied once per entry."""
    match entry.event:
        case events.SessionUpdated(changes=changes):
            return {"settings": {**old.settings, **changes}}
        case events.RuleAdded(rule=rule):
            rules = [*old.settings["permission_rules"], rule]
            return {"settings": {**old.settings, "permission_rules": rules}}
        case events.CompactionRequested():
            return {"compaction_requested": True}
        case events.ContextCompacted():
            return {"compaction_requested": False}
        case events.SessionEnded():
            return {"ended_at": entry.at}
        case _:
            return _fold_queue(old, entry)


def _fold_queue(old: Session, entry: Entry) -> dict[str, Any]:
    run = entry.run
    assert run is not None
    rest = tuple(id for id in old.queued if id != run)
    match entry.event:
        case events.RunSubmitted(settings=settings, run_kind=kind):
            parks = {run} if settings.while_waiting == "park" else set()
            return {**_enqueue(old, run, kind), "parking": old.parking | parks}
        case events.RunStarted() | events.RunResumed():
            return {"active": run, "queued": rest, "giving_way": _other(old, run)}
        case events.RunWaiting(status=status):
            gives_way = run in old.parking or status == "waiting_for_agent"
            return {"active": None} if gives_way and old.active == run else {}
        case events.RunRequeued():
            return {} if old.active == run else {"queued": (run, *rest)}
        case _:  # an ending event
            active = None if old.active == run else old.active
            return {"active": active, "queued": rest, "parking": old.parking - {run}, "giving_way": _other(old, run)}


def _enqueue(old: Session, run: str, kind: str) -> dict[str, Any]:
    """Return the queue with a new run: at its end, but before a run of the goal that has not started."""
    if kind == events.CONTINUATION:
        return {"queued": (*old.queued, run), "giving_way": run}
    at = old.queued.index(old.giving_way) if old.giving_way in old.queued else len(old.queued)
    return {"queued": (*old.queued[:at], run, *old.queued[at:])}


def _other(old: Session, run: str) -> str | None:
    return None if old.giving_way == run else old.giving_way


@frozen
class SessionView(View):
    """A session."""

    session_id: str
    status: Status
    title: str | None
    created_at: str
    ended_at: str | None
    workspace: str | None
    route: str | None
    permission_mode: str
    permission_rules: list[dict[str, Any]]
    persona: dict[str, Any] | None
    """The snapshot that the session is bound to."""
    labels: dict[str, str]
    budget: dict[str, Any] | None
    input_contract: dict[str, Any] | None
    output_contract: dict[str, Any] | None
    reply_targets: list[dict[str, Any]]
    while_waiting: Literal["hold", "park"]
    capability_scope: dict[str, Any] | None
    """The tools that its agent sees: `allow` and `deny`."""
    credential_scope: dict[str, Any] | None
    """The routes and accounts that its runs use: `allow` and `deny`."""
    active_run_id: str | None
    queued_runs: int
    agent_id: str
    forked_from: dict[str, Any] | None
    tainted_by: str | None
    path: str
    """Its folder in the state root."""
    last_n: int
    project: str | None = None
    """The project that its runs work for."""
    worker: str | None = None
    """The worker that its tools run on, chosen when it was created; null: the daemon's machine."""
    announce: list[dict[str, Any]] = field(default_factory=list)
    """The targets of announcements: waiting approvals and questions, and failed runs."""
    compaction_requested: bool = False
    """Whether the next run summarises the conversation first, because a user requested it."""
    debug: Level | None = None
    """The level of debug capture of its runs; null: the daemon's."""


def view(session: Session) -> SessionView:
    """Return the session as the API and `session.yaml` show it (`shapes.md`)."""
    settings: Any = {name: session.settings.get(name) for name in SETTINGS if name not in INTERNAL}
    settings["announce"] = settings["announce"] or []
    return SessionView(
        session_id=session.session_id,
        status=session.status,
        created_at=session.created_at,
        ended_at=session.ended_at,
        **settings,
        active_run_id=session.active,
        queued_runs=len(session.queued),
        agent_id=session.agent_id,
        forked_from=session.forked_from,
        tainted_by=session.tainted_by,
        path=session.path,
        last_n=session.n,
        compaction_requested=session.compaction_requested,
    )


NOUN = Noun(
    name="session",
    cls=Session,
    folded=frozenset(CREATED + CHANGED),
    fold=lambda tables, entry: fold(tables[Session], entry),
    keep=always,
    is_busy=lambda session: session.active is not None or bool(session.queued),
    view=view,
    record="session.yaml",
    filters=("route", "permission_mode", "agent_id", "project", "workspace", "worker"),
)


NEVER_AGAIN = "Ids are never reused; choose another."


def create(
    state: State, session_id: str | None, settings: Mapping[str, Any], *, workspace: Path, by: str
) -> tuple[Session, bool]:
    """Create a session, or return the existing one with these settings; the flag is True if it was created.

    Only the given settings are compared. Raises SessionConflict naming those that differ.
    """
    session_id = ids.check_slug(session_id, "session_id") if session_id else ids.new("session")
    existing = state.find(Session, session_id)
    if existing:
        _compare(existing, settings)
        return existing, False
    state.append(made(state, session_id, settings, workspace=workspace, by=by))
    return state.get(Session, session_id), True


def made(state: State, session_id: str, settings: Mapping[str, Any], *, workspace: Path, by: str) -> Draft:
    """Return the draft that creates a session, for a larger group. The id must be free.

    Raises SessionConflict for the id of a session that was deleted meanwhile.
    """
    check_undeleted(state, session_id)
    placement.count(state, settings.get("worker"))
    created = events.SessionCreated(
        path=state.place_session(session_id),
        agent_id=ids.new("agent"),
        settings={"workspace": str(workspace), "permission_mode": state.definitions.permissions.mode, **settings},
    )
    return created.on(session_id, by=by)


def check_undeleted(state: State, session_id: str) -> None:
    """Raise SessionConflict if the session was deleted since its lookup (`State.load` reports earlier deletions)."""
    if session_id in state.deleted:
        raise SessionConflict(f"The session {session_id!r} was deleted a moment ago. {NEVER_AGAIN}")


def _compare(there: Session, settings: Mapping[str, Any]) -> None:
    different = [key for key, value in settings.items() if there.settings.get(key) != value]
    if different:
        raise SessionConflict(
            f"The session {there.session_id!r} exists with another {', '.join(different)}; "
            "PATCH it, or choose another id.",
            errors=[Fault(f"/{key}", f"is {there.settings.get(key)!r} in the session") for key in different],
        )


def update(state: State, session_id: str, changes: Mapping[str, Any], *, by: str) -> Session:
    """Change settings for later runs. Raises SessionEnded, SessionNotIdle (for a change of identity)."""
    session = accepting(state, session_id)
    effective = {key: value for key, value in changes.items() if session.settings.get(key) != value}
    identity = sorted(IDENTITY & effective.keys())
    if identity and (session.active or session.queued):
        raise SessionNotIdle(
            f"The {' and '.join(identity)} of {session_id!r} can only change while it is idle; blocked by: "
            f"{session.active or session.queued[0]}. Wait for it, or cancel it.",
            run_id=session.active or session.queued[0],
        )
    if effective:
        state.append(events.SessionUpdated(changes=effective).on(session_id, by=by))
    return state.get(Session, session_id)


def request_compaction(state: State, session_id: str, *, by: str, reason: str | None = None) -> Session:
    """Request a summary of the conversation, with which the next run begins. Raises SessionEnded."""
    if not accepting(state, session_id).compaction_requested:
        state.append(events.CompactionRequested(reason=reason).on(session_id, by=by))
    return state.get(Session, session_id)


def accepting(state: State, session_id: str) -> Session:
    """Return the session if it accepts input. Raises NotFound, SessionEnded."""
    session = state.get(Session, session_id)
    if session.ended_at:
        raise SessionEnded(f"The session {session_id!r} ended at {session.ended_at}; start another, or fork it.")
    return session
