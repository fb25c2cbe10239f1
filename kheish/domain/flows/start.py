"""The start of a Flow: everything is checked before anything is written, and written as one group."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kheish import ids
from kheish.domain import command_templates, events, intake, keys, personas, routes, scopes
from kheish.domain.events import (
    Draft,
    PhasePlan,
    Plan,
    RolePlan,
    Scope,
    ToolLimits,
    WantedEvidence,
    frozen,
)
from kheish.domain.flows import inputs as flow_inputs
from kheish.domain.flows.flow import Flow
from kheish.domain.keys import Key
from kheish.domain.outputs import targets
from kheish.domain.playbooks.manifest import EvidenceItem, Phase, Playbook, Requirement, Role, ToolPolicy
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.domain.workers import placement
from kheish.errors import Fault, InsufficientStorage, Invalid, RouteNotReady
from kheish.store.files import blob_id

if TYPE_CHECKING:
    from kheish.domain.scopes import CapabilityScope, CredentialScope
    from kheish.state.state import State

#: a Flow's budget limits these over all of its runs; the other limits apply to each run
SHARED = ("cost_usd", "tokens", "model_calls")


@frozen
class Source:
    """The Playbook version to start, as its tag holds it."""

    playbook_id: str
    version: str
    digest: str
    tag: str
    commit: str | None
    manifest: Playbook


@frozen
class Start:
    """A request to start a Flow. `inputs` are complete (`inputs.complete`); `workspace` is for a session that is
    created."""

    flow_id: str
    source: Source
    inputs: dict[str, Any]
    by: str
    session_id: str | None = None
    workspace: Path | None = None
    budget: dict[str, Any] | None = None
    reply_targets: tuple[Any, ...] = ()
    key: Key | None = None
    unattended: Literal["ask", "deny"] = "ask"
    observation_ids: tuple[str, ...] = ()


def start(state: State, given: Start, *, beside: Sequence[Draft] = ()) -> Flow | str:
    """Start a Flow in a session that is loaded, or created here, in one group with the drafts in `beside`.

    Returns the Flow, or the id of the Flow that the same key started before. Raises Invalid (with every fault),
    RouteRequired, RouteNotReady, OutOfScope, SessionEnded, IdempotencyConflict, InsufficientStorage, StoreFailed.
    """
    earlier = keys.earlier(state, given.key)
    if earlier is not None:
        return state.find(Flow, earlier) or earlier
    if state.low_space:
        raise InsufficientStorage(state.low_space)
    faults = [
        *_persona_faults(state, given.source.manifest),
        *_worker_faults(state, given.source.manifest),
        *targets.faults(state.definitions, given.reply_targets, state.slots),
    ]
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".", errors=faults)
    plan = planned(state, given.source.manifest, given.inputs, given.budget)
    session_id = given.session_id or given.flow_id
    making = _session(state, session_id, plan, given)
    source = given.source
    leaves = credential_scope(source.playbook_id, source.version, plan)
    _check_routes(state, plan, state.find(Session, session_id), leaves)
    started = events.FlowStarted(
        flow_id=given.flow_id,
        path=f"{state.folder('flows')}/{given.flow_id}.yaml",
        playbook=source.playbook_id,
        version=source.version,
        digest=source.digest,
        tag=source.tag,
        commit=source.commit,
        inputs=given.inputs,
        plan=plan,
        reply_targets=given.reply_targets,
        idempotency=keys.sent(given.key),
        unattended=given.unattended,
        observation_ids=given.observation_ids,
    )
    state.append(*beside, *making, started.on(session_id, by=given.by))
    return state.get(Flow, given.flow_id)


def _session(state: State, session_id: str, plan: Plan, given: Start) -> list[Draft]:
    """Return the draft that creates the session; none if it exists and accepts input."""
    if state.find(Session, session_id) is not None:
        sessions.accepting(state, session_id)
        return []
    sessions.check_undeleted(state, session_id)
    assert given.workspace is not None
    settings = {"title": plan.title, "labels": {"playbook": given.source.playbook_id}}
    return [sessions.made(state, session_id, settings, workspace=given.workspace, by=given.by)]


# --- the plan: what the Flow freezes ----------------------------------------------------------------------------------


def planned(state: State, manifest: Playbook, inputs: Mapping[str, Any], budget: Mapping[str, Any] | None) -> Plan:
    """Return the Playbook with the inputs filled in, and with the current personas."""

    def fill(value: Any, *, command: bool = False) -> Any:
        return flow_inputs.filled(value, inputs, manifest.inputs, command=command)

    runtime, left = manifest.runtime, manifest.scopes
    return Plan(
        title=fill(manifest.title),
        objective=fill(manifest.objective),
        # A Playbook without phases is a single phase.
        drive=manifest.drive if manifest.phases else "agent",
        phases=tuple(_phase(phase, fill) for phase in manifest.phases),
        roles={name: _role(state, role, fill) for name, role in manifest.roles.items()},
        preconditions=tuple(fill(manifest.preconditions)),
        acceptance=_requirements(manifest.acceptance, fill),
        evidence=_wanted(manifest.evidence, fill),
        tools=_limits(manifest.tools),
        capability_scope=_limits(left.capability),
        credential_scope=_limits(left.credential),
        route=runtime.route,
        generation=dict(runtime.generation or {}),
        budget=narrowest(manifest.budget.model_dump(exclude_none=True), budget or {}) or None,
        checks_ask=any(map(command_templates.runs_input, _command_templates(manifest))),
    )


def _command_templates(manifest: Playbook) -> Iterator[str]:
    for given in (manifest.acceptance, *(phase.acceptance for phase in manifest.phases)):
        for one in given:
            data = {} if isinstance(one, str) else one.model_dump(mode="json", exclude_unset=True)
            if (command := data.get("command")) is not None:
                yield command if isinstance(command, str) else str(command["run"])


def narrowest(*budgets: Mapping[str, Any]) -> dict[str, Any]:
    """Return the narrowest of several budgets, limit by limit; durations in seconds."""
    limits: dict[str, Any] = {}
    for one in budgets:
        for name, value in one.items():
            if value is not None:
                value = intake.seconds(value)
                limits[name] = min(limits.get(name, value), value)
    return limits


def _phase(phase: Phase, fill: Any) -> PhasePlan:
    return PhasePlan(
        phase_id=phase.id,
        objective=fill(phase.objective or ""),
        instructions=fill(phase.instructions),
        role=phase.role,
        needs=phase.needs,
        acceptance=_requirements(phase.acceptance, fill),
        evidence=_wanted(phase.evidence, fill),
        tools=_limits(phase.tools),
        approval=phase.approval,
        retries=phase.retries,
        on_failure=phase.on_failure,
        timeout=ids.duration(phase.timeout) if isinstance(phase.timeout, str) else phase.timeout,
        worker=phase.worker.model_dump(exclude_none=True) if phase.worker is not None else None,
    )


def _role(state: State, role: Role, fill: Any) -> RolePlan:
    if role.persona is None:
        return RolePlan(purpose=fill(role.purpose), route=role.route)
    persona = state.definitions.get("personas", role.persona)
    kept = personas.snapshot(role.persona, persona.value, persona.digest, ids.now(), blob=blob_id(persona.raw))
    return RolePlan(purpose=fill(role.purpose), route=role.route, persona=kept)


def _requirements(given: Iterable[Requirement], fill: Any) -> tuple[Any, ...]:
    """Return texts as they are, and checked requirements as plain data.

    In a command each given value is quoted; in a schema and a path nothing is filled in.
    """
    requirements: list[Any] = []
    for one in given:
        data = one if isinstance(one, str) else one.model_dump(mode="json", exclude_unset=True)
        if isinstance(data, dict) and "command" in data:
            requirements.append(_command(data, fill))
        else:
            requirements.append(fill(data) if isinstance(data, str) else data)
    return tuple(requirements)


def _command(data: dict[str, Any], fill: Any) -> dict[str, Any]:
    try:
        filled: dict[str, Any] = fill(data, command=True)
    except ValueError as error:
        raise Invalid(f"The Playbook's acceptance {data['command']!r} cannot be filled in: {error}.") from None
    return filled


def _wanted(given: Iterable[EvidenceItem], fill: Any) -> tuple[WantedEvidence, ...]:
    return tuple(
        WantedEvidence(kind=one.kind, id=one.id, description=fill(one.description or ""), required=one.required)
        for one in given
    )


def _limits(policy: ToolPolicy | CapabilityScope | CredentialScope | None) -> ToolLimits:
    if policy is None:
        return ToolLimits()
    return ToolLimits(allow=None if policy.allow is None else tuple(policy.allow), deny=tuple(policy.deny))


# --- what must be there -----------------------------------------------------------------------------------------------


def _persona_faults(state: State, manifest: Playbook) -> list[Fault]:
    known = state.definitions.by_kind["personas"]
    return [
        Fault(f"/roles/{name}/persona", f"there is no persona {role.persona!r}")
        for name, role in manifest.roles.items()
        if role.persona is not None and role.persona not in known
    ]


def _worker_faults(state: State, manifest: Playbook) -> Iterator[Fault]:
    for number, phase in enumerate(manifest.phases):
        try:
            placement.placed(state, phase.worker)
        except Invalid as error:
            yield from (Fault(f"/phases/{number}{one.path}", one.message) for one in error.errors)


def credential_scope(playbook_id: str, version: str, plan: Plan) -> scopes.Scopes:
    """Return the routes and accounts that the Playbook leaves available."""
    limits = plan.credential_scope
    origin = f"playbook {playbook_id}@{version}, credential scope"
    return (Scope(origin=origin, allow=limits.allow, deny=limits.deny),) if limits != ToolLimits() else ()


def _check_routes(state: State, plan: Plan, session: Session | None, leaves: scopes.Scopes) -> None:
    """Check that each route of a phase exists, is within the scopes, is ready, and has a price if the budget needs
    one."""
    known, config = state.definitions.routes, state.definitions.config
    leaves = scopes.credential(session.settings if session else {}, leaves)
    fallback = plan.route or (session.settings["route"] if session else None)
    used = {plan.roles[phase.role].route if phase.role in plan.roles else None for phase in plan.phases} or {None}
    for selector in sorted({one or fallback or "" for one in used}):
        route_id, _ = routes.choose(selector or None, config.default_route, known)
        route = known[route_id]
        scopes.check_use(leaves, f"route:{route_id}", route.auth_ref)
        if (missing := routes.readiness(route_id, route, os.environ, state.slots)) is not None:
            raise RouteNotReady(missing)
        if (plan.budget or {}).get("cost_usd") is not None and route.price is None and route.driver != "litellm":
            raise Invalid(
                f"A budget in US dollars needs a price, and the route {route_id!r} has none; add price: to its file, "
                "or limit tokens instead.",
                errors=[Fault("/budget/cost_usd", f"the route {route_id!r} has no price")],
            )
