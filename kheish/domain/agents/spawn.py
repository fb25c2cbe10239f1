"""The spawn of a child: everything is checked before anything is written, and written as one group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events, intake, keys, personas, routes, traces
from kheish.domain.agents import fleet, narrowing
from kheish.domain.agents.agent import Agent
from kheish.domain.agents.narrowing import Rights
from kheish.domain.events import Draft, Item, Scope, frozen
from kheish.domain.events.agents import Worktree
from kheish.domain.flows.start import narrowest
from kheish.domain.intake import Input
from kheish.domain.keys import Key
from kheish.domain.runs import Run
from kheish.domain.sessions.session import SETTINGS, Session
from kheish.domain.workers import placement
from kheish.domain.workers.definition import WorkerChoice
from kheish.errors import AgentExists, AgentStateConflict, Fault, RunStateConflict, ScopeTooWide, SpawnQuota

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Spawn:
    """A request for a child. `workspace` is the real path of its `cwd`; `file` is its agent file."""

    name: str
    items: tuple[Item, ...]
    by: str
    agent: str | None = None
    file: personas.Persona | None = None
    snapshot: dict[str, Any] | None = None
    instructions: Mapping[str, str] | None = None
    route: str | None = None
    model: str | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    permission_mode: str | None = None
    capability_scope: dict[str, Any] | None = None
    credential_scope: dict[str, Any] | None = None
    budget: dict[str, Any] | None = None
    workspace: str | None = None
    isolation: str | None = None
    finish: str = "commit"
    retention: str = "retain"
    detached: bool = False
    timeout: float | None = None
    request_id: str | None = None
    key: Key | None = None
    allow_bypass: bool = False
    skills: tuple[str, ...] = ()  # those that its run begins with
    worker: WorkerChoice | None = None


@frozen
class Child:
    """A child that passed all checks: its ids, and the settings of its session."""

    agent_id: str
    session_id: str
    settings: dict[str, Any]
    parent: Agent
    run: Run | None
    wanted: Spawn
    isolation: str
    route: str | None


def plan(state: State, parent: Agent, run: Run | None, wanted: Spawn) -> Child:
    """Return the child that a loaded agent may spawn; `run` is its open run. Nothing changes.

    Raises ScopeTooWide (first of all), AgentStateConflict, RunStateConflict, AgentExists, SpawnQuota, NotFound,
    Invalid.
    """
    rights = narrowing.rights(state, parent, run)
    check_width(state, rights, wanted)
    _check_state(parent, run)
    _check_name(state, parent, wanted.name)
    if refused := list(quotas(state, parent, run)):
        raise SpawnQuota("; ".join(one.message for one in refused) + ".", errors=refused)
    file = wanted.file
    settings = {
        **SETTINGS,
        "title": wanted.name,
        "workspace": wanted.workspace or rights.workspace,
        "route": _route(state, rights, wanted),
        "permission_mode": narrowing.narrowest_mode(
            rights.mode, wanted.permission_mode, file.permission_mode if file else None
        ),
        "permission_rules": list(rights.rules),
        "persona": _persona(rights, wanted),
        "labels": {},
        "budget": _budget(wanted, file),
        "capability_scope": wanted.capability_scope,
        "credential_scope": wanted.credential_scope,
        "project": _project(state, parent, run),
        "worker": placement.placed(state, wanted.worker, file and file.worker, inherited=rights.worker),
        "inherited": narrowing.handed_down(rights, *_tool_scopes(wanted, file)),
        "keeps_worker": rights.keeps_worker,
    }
    return Child(
        agent_id=ids.new("agent"),
        session_id=ids.new("session"),
        settings=settings,
        parent=parent,
        run=run,
        wanted=wanted,
        isolation=wanted.isolation or (file.isolation if file else None) or "shared",
        route=settings["route"],
    )


def _project(state: State, parent: Agent, run: Run | None) -> str | None:
    """Return the project that the parent works for: its children work for the same."""
    return run.project if run is not None else intake.project_of(state, state.get(Session, parent.session_id))


def check_width(state: State, rights: Rights, wanted: Spawn) -> None:
    """Raise ScopeTooWide if a request is wider than the rights of the parent."""
    wide = list(
        narrowing.faults(
            state,
            rights,
            mode=wanted.permission_mode,
            tools={"allow": wanted.allow},
            capability=wanted.capability_scope,
            credential=wanted.credential_scope,
            route=wanted.route,
            budget=wanted.budget,
            workspace=wanted.workspace,
            worker=wanted.worker,
            allow_bypass=wanted.allow_bypass,
        )
    )
    if wide:
        listed = "; ".join(f"{fault.path}: {fault.message}" for fault in wide)
        raise ScopeTooWide(f"A child may only narrow what its parent has. {listed}.", errors=wide)


def _check_state(parent: Agent, run: Run | None) -> None:
    if parent.closed_at is not None:
        raise AgentStateConflict(f"The agent {parent.agent_id} is closed; it spawns no more agents.")
    if run is not None and (run.stop_requested or run.is_final):
        raise RunStateConflict(
            f"The run {run.run_id} is being stopped; it spawns no more agents.",
            from_status=str(run.status),
            to_status="running",
        )


def _check_name(state: State, parent: Agent, name: str) -> None:
    ids.check_slug(name, "name")
    path = f"{parent.path}/{name}"
    fresh = (change.value for (cls, _), change in state.unjournaled.items() if cls is Agent)
    siblings = {one.path for one in fresh if one.parent == parent.agent_id}
    if name in {child.name for child in parent.live} or path in siblings:
        raise taken(parent.agent_id, name)


def taken(parent: str, name: str) -> AgentExists:
    """Return the error for a name that a sibling has."""
    return AgentExists(f"The agent {parent} has a child {name!r}; choose another name, or send it a message.")


def quotas(state: State, parent: Agent, run: Run | None) -> list[Fault]:
    """Return the quotas that leave no room for another child."""
    counts = counted(state, parent, run)
    return [
        Fault(f"/agents/{name}", f"agents.{name} is {most}, and {used} {words}")
        for name, used, most, words in counts
        if most is not None and used >= most
    ]


def counted(state: State, parent: Agent, run: Run | None) -> list[tuple[str, int, int | None, str]]:
    """Return each quota: its name, what is used of it, the most, and the words for what is counted.

    The most is that of kheish.yaml, or a narrower one of the agent's persona, of an agent above, or of its project.
    """
    limits: dict[str, int] = state.definitions.config.agents.model_dump()
    if parent.session_id:
        project = state.definitions.by_kind["projects"].get(_project(state, parent, run) or "")
        own = project.value.agents.narrower if project is not None else {}
        limits = narrowing.narrowest(limits, narrowing.rights(state, parent, run).quotas, own)
    whole = fleet.of(state)
    return [
        ("depth", parent.depth, limits["depth"], "levels are above a child"),
        ("live_per_parent", len(parent.live), limits["live_per_parent"], "children of the agent are live"),
        ("live_per_root", whole.per_root[parent.root], limits["live_per_root"], "agents of the tree are live"),
        ("spawns_per_run", run.spawned if run is not None else 0, limits["spawns_per_run"] if run is not None else None,
         "were spawned by the run"),
        ("live", len(whole.live), limits["live"], "children are live in the daemon"),
        ("spawns_per_minute", whole.in_a_minute(state.clock()), limits["spawns_per_minute"],
         "were spawned in the last minute"),
    ]  # fmt: skip


def _route(state: State, rights: Rights, wanted: Spawn) -> str | None:
    """Return the selector of the child's route, with its model, so that its later runs have it, too.

    The request's route comes before the agent file's route and model, and those before the parent's.
    """
    file = wanted.file if wanted.route is None else None
    selector = wanted.route or (file.route if file else None) or rights.route
    model = wanted.model or (file.model if file else None)
    if model is None:
        return selector
    known = state.definitions
    return f"{routes.choose(selector, known.config.default_route, known.routes)[0]}/{model}"


def _persona(rights: Rights, wanted: Spawn) -> dict[str, Any] | None:
    """Return the snapshot of the child's persona: its agent file, else its parent's, with its instructions."""
    base = wanted.snapshot or rights.persona
    if base is not None:
        base = {**base, "skills": _skills(rights.persona or {}, base)}
    if wanted.instructions is None:
        return base
    text = wanted.instructions["text"]
    if base is None:
        return {**personas.EMPTY, "persona_id": wanted.name, "display_name": wanted.name, "body": text}
    is_added = wanted.instructions.get("mode", "append") == "append"
    return {**base, "body": f"{base['body']}\n\n{text}" if is_added else text}


def _skills(above: Mapping[str, Any], persona: Mapping[str, Any]) -> list[str] | None:
    """Return the skills that both the parent's persona and the child's leave; None: all."""
    of_parent, own = above.get("skills"), persona.get("skills")
    if of_parent is None or own is None:
        return of_parent if own is None else own
    return [name for name in own if name in of_parent]


def _budget(wanted: Spawn, file: personas.Persona | None) -> dict[str, Any] | None:
    limits = file.limits.budget if file is not None and file.limits is not None else {}
    return narrowest(limits, wanted.budget or {}) or None


def _tool_scopes(wanted: Spawn, file: personas.Persona | None) -> list[Scope]:
    """Return the scopes of the request's tools and of the agent file's."""
    narrower = [Scope(origin="spawn, tools", allow=wanted.allow, deny=wanted.deny)]
    if file is not None:
        allow = tuple(file.tools) if file.tools is not None else None
        narrower.append(Scope(origin=f"agent {wanted.agent}, tools", allow=allow, deny=tuple(file.disallowed_tools)))
    return [one for one in narrower if one.allow is not None or one.deny]


def drafts(
    state: State, child: Child, *, worktree: Worktree | None = None, opening: events.SessionCreated | None = None
) -> list[Draft]:
    """Return the group that creates a child, and count it. The parent's session must be loaded.

    `opening` is the session's first event if it begins with a part of its parent's conversation. Raises as
    `intake.submit`.
    """
    parent, wanted, by = child.parent, child.wanted, child.wanted.by
    path = opening.path if opening is not None else state.place_session(child.session_id)
    settings = {**child.settings, **({"workspace": _inside(worktree, child)} if worktree is not None else {})}
    session = Session(
        session_id=child.session_id, path=path, agent_id=child.agent_id, created_at="", made=0, settings=settings
    )
    given = Input(session_id=child.session_id, items=wanted.items, actor=f"agent:{parent.agent_id}", source="agent",
                  route=settings["route"], generation=wanted.generation, skills=wanted.skills,
                  unattended=child.run.settings.unattended if child.run is not None else "ask",
                  traceparent=traces.of_run(child.run.run_id) if child.run is not None else None)  # fmt: skip
    run_id, submitted = intake.draft(state, session, given)
    created = opening or events.SessionCreated(path=path, agent_id=child.agent_id, settings=settings)
    made = {name: value for name, value in settings.items() if value != SETTINGS[name] or name == "permission_mode"}
    spawned_by, now = child.run.run_id if child.run is not None else None, state.clock()
    spawned = events.ChildSpawned(
        agent_id=child.agent_id, session_id=child.session_id, name=wanted.name, detached=wanted.detached,
        idempotency=keys.sent(wanted.key),
    )  # fmt: skip
    group = [
        events.changed(created, agent_id=child.agent_id, settings=made).on(child.session_id, by=by),
        _record(state, child, worktree, now).on(child.session_id, by=by),
        submitted.on(child.session_id, run_id, by=by),
        spawned.on(parent.session_id, spawned_by, by=by),
    ]
    placement.count(state, settings["worker"])
    whole = fleet.of(state)
    whole.add(child.agent_id, child.session_id, parent.session_id, parent.root)
    whole.note_spawn(now)
    return group


def _inside(worktree: Worktree, child: Child) -> str:
    """Return the folder in a worktree that stands for the child's folder in the repository."""
    folder = Path(child.settings["workspace"])
    repository = Path(worktree.repository)
    return str(Path(worktree.path) / (folder.relative_to(repository) if folder.is_relative_to(repository) else ""))


def _record(state: State, child: Child, worktree: Worktree | None, now: float) -> events.AgentSpawned:
    parent, wanted = child.parent, child.wanted
    return events.AgentSpawned(
        name=wanted.name,
        path=f"{parent.path}/{wanted.name}",
        parent=parent.agent_id,
        parent_session=parent.session_id,
        root=parent.root,
        root_session=parent.root_session,
        depth=parent.depth + 1,
        agent=wanted.agent,
        retention=wanted.retention,  # type: ignore[arg-type]
        detached=wanted.detached,
        isolation=child.isolation,  # type: ignore[arg-type]
        worktree=worktree,
        spawned_by_run=child.run.run_id if child.run is not None else None,
        spawn_request_id=wanted.request_id,
        deadline=ids.stamp(now + wanted.timeout) if wanted.timeout is not None else None,
        tainted_by=state.get(Session, parent.session_id).tainted_by,
    )
