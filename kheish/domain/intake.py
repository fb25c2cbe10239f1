"""Intake: the single entry point for work. Every start of a run calls `submit`, which makes all checks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kheish import ids
from kheish.domain import completion, events, keys, routes, runs, scopes
from kheish.domain.assets import asset as assets
from kheish.domain.contracts import check as contracts
from kheish.domain.events import Draft, Item, Limits, Request, RunSettings, Scope, ToolPolicy, frozen
from kheish.domain.keys import Key
from kheish.domain.outputs import targets
from kheish.domain.routes import Route
from kheish.domain.runs import Run
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.errors import Fault, InsufficientStorage, Invalid, InvalidInput, RouteNotReady, SessionNotIdle
from kheish.state.event import adapter

if TYPE_CHECKING:
    from kheish.config import Config
from kheish.state.state import State

METADATA_BYTES = 16 * 1024
#: a session's budget limits these over all of its runs (`budgets.check`), not each run
SHARED = frozenset({"tokens", "cost_usd"})


@frozen
class Input:
    """A request for work. `route` is a selector (`route` or `route/model`); `budget` has the keys of Limits.

    The last fields are for internal callers that run work on a user's behalf (Flows); no API request can set them.
    """

    session_id: str
    items: tuple[Item, ...]
    actor: str
    source: str = "api"
    kind: str = "input"
    metadata: dict[str, Any] = field(default_factory=dict)
    route: str | None = None
    model: str | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] | None = None
    output_contract: dict[str, Any] | None = None
    reply_targets: tuple[Any, ...] = ()
    skills: tuple[str, ...] = ()  # the run begins with them
    completion: tuple[Any, ...] = ()
    key: Key | None = None
    retry_of: str | None = None
    flow: dict[str, Any] | None = None
    tool_policies: tuple[ToolPolicy, ...] = ()
    credential_scope: tuple[Scope, ...] = ()
    phase_text: str | None = None
    persona: dict[str, Any] | None = None  # a snapshot (`personas.snapshot`) instead of the session's
    checks_ask: bool = False  # no caller with the right to start commands asked for those of `completion`
    message_ids: tuple[str, ...] = ()  # the messages that the run delivers
    run_id: str | None = None  # an id that an event in `beside` names; without it, one is generated
    unattended: Literal["ask", "deny"] = "ask"  # deny: no person is asked during the run
    project: str | None = None  # the project of the task that it is for
    debug: Literal["off", "redacted", "full"] | None = None  # the level of debug capture, instead of the session's
    traceparent: str | None = None  # the caller's span (W3C Trace Context)
    worker: str | None = None  # the worker of a phase, instead of the session's
    checked: str | None = None  # `schemas_key` of the schemas that checked the input (`check_schemas`)


def submit(state: State, given: Input, *, by: str | None = None, beside: Sequence[Draft] = ()) -> Run | str:
    """Queue a run of a loaded session, in one group with the drafts in `beside`.

    Returns the run, or the id of the run that the same key created before.

    Raises NotFound, SessionEnded, Invalid (with every fault), InvalidInput, RouteRequired, RouteNotReady, OutOfScope,
    IdempotencyConflict, InsufficientStorage, StoreFailed.
    """
    earlier = keys.earlier(state, given.key)
    if earlier is not None:
        return state.find(Run, earlier) or earlier
    run_id, submitted = draft(state, sessions.accepting(state, given.session_id), given)
    state.append(*beside, submitted.on(given.session_id, run_id, by=by or given.actor))
    return state.get(Run, run_id)


def draft(state: State, session: Session, given: Input) -> tuple[str, events.RunSubmitted]:
    """Return the id and the submission of a run that passed all checks, for a larger group. The session may be one that
    the group creates. Raises as `submit`."""
    if state.low_space:
        raise InsufficientStorage(state.low_space)
    if given.checked != schemas_key(session, given):
        raise SessionNotIdle("The session's contract changed while the input was checked against it; send it again.")
    required, wrong = completion.read(given.completion)
    reply_targets = given.reply_targets or tuple(session.settings["reply_targets"])
    unreachable = targets.faults(state.definitions, reply_targets, state.slots)
    faults = [*_item_faults(state, given.items), *unreachable, *wrong]
    faults += _metadata_faults(given.metadata)
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".", errors=faults)
    route_id, model, route = _route(state, session, given)
    limits = narrowest(state.definitions.config, session, route, given.budget)
    in_dollars = limits.cost_usd is not None or (session.settings["budget"] or {}).get("cost_usd") is not None
    if in_dollars:
        _check_price(route_id, route)
    persona = given.persona or session.settings["persona"]
    settings = RunSettings(
        route=route_id,
        model=model,
        persona=persona,
        permission_mode=session.settings["permission_mode"],
        workspace=session.settings["workspace"] or "",
        generation={**route.generation, **given.generation},
        limits=limits,
        output_contract=given.output_contract or session.settings["output_contract"],
        while_waiting=session.settings["while_waiting"],
        tool_policies=(*given.tool_policies, *_inherited_policies(session.settings)),
        completion=required,
        own_persona=given.persona is not None,
        checks_ask=given.checks_ask,
        capability_scope=scopes.capability(session.settings, persona, in_flow=given.flow is not None),
        credential_scope=scopes.credential(session.settings, given.credential_scope),
        unattended=given.unattended,
        skills=given.skills,
        project=given.project or project_of(state, session),
        reply_targets=reply_targets,
        debug=given.debug,
        worker=given.worker or session.worker,
    )
    submitted = events.RunSubmitted(
        run_kind=given.kind,
        request=Request(actor=given.actor, source=given.source, items=given.items, metadata=given.metadata),
        settings=settings,
        retry_of=given.retry_of,
        flow=given.flow,
        idempotency=keys.sent(given.key),
        phase_text=given.phase_text,
        message_ids=given.message_ids,
        tainted_by="observations" if any(item.observation_ids for item in given.items) else None,
        traceparent=given.traceparent,
    )
    return given.run_id or ids.new("run"), submitted


def again(state: State, old: Mapping[str, Any], *, by: str, key: Key | None = None) -> Input:
    """Return the input for retrying an ended run, from the run's document. Raises RunStateConflict."""
    from kheish.errors import RunStateConflict

    if old["status"] not in runs.FINAL:
        raise RunStateConflict(
            f"The run {old['run_id']} is {old['status']}; only a run that has ended can be retried.",
            from_status=old["status"],
            to_status="queued",
        )
    request, settings = old["request"], old["settings"]
    items = tuple(adapter(Item).validate_python(item) for item in request["items"])
    return Input(
        session_id=old["session_id"],
        items=items,
        actor=by,
        source=request["source"],
        kind=old["kind"],
        metadata=request["metadata"],
        route=old["route"] if old["route"] in state.definitions.routes else None,
        model=old["model"],
        generation=settings["generation"],
        budget=settings["limits"],
        output_contract=settings["output_contract"],
        tool_policies=tuple(adapter(ToolPolicy).validate_python(one) for one in settings.get("tool_policies", ())),
        credential_scope=scopes.given(
            adapter(Scope).validate_python(one) for one in settings.get("credential_scope", ())
        ),
        completion=tuple(settings.get("completion", ())),
        phase_text=settings.get("phase_text"),
        persona=settings.get("persona"),
        checks_ask=settings.get("checks_ask", False),
        unattended=settings.get("unattended", "ask"),
        skills=tuple(settings.get("skills", ())),
        reply_targets=tuple(settings.get("reply_targets", ())),
        debug=settings.get("debug"),
        worker=settings.get("worker"),
        retry_of=old["run_id"],
        key=key,
    )


def project_of(state: State, session: Session) -> str | None:
    """Return the project that the runs of a session work for: its own, else the only one that it is a member of."""
    own: str | None = session.settings.get("project")
    projects = state.definitions.projects_of(session.session_id) if own is None else ()
    return projects[0] if len(projects) == 1 else own


def check_priced(state: State, session: Session) -> None:
    """Raise Invalid if a limit in US dollars is impossible: the session's route has no price. Raises as `submit`."""
    route_id, _, route = _route(state, session, Input(session_id=session.session_id, items=(), actor=""))
    _check_price(route_id, route)


def _check_price(route_id: str, route: Route) -> None:
    if route.price is None and route.driver != "litellm":
        raise Invalid(
            f"A limit in US dollars needs a price, and the route {route_id!r} has none; add price: to its file, or "
            "limit tokens instead.",
            errors=[Fault("/budget/cost_usd", "the route has no price")],
        )


def _item_faults(state: State, items: tuple[Item, ...]) -> list[Fault]:
    if not items:
        return [Fault("/items", "is empty; send content or at least one item")]
    faults = []
    for number, item in enumerate(items):
        if item.type == "asset":
            if assets.find(state, item.asset_id or "") is None:
                faults.append(Fault(f"/items/{number}/asset_id", f"there is no asset {item.asset_id!r}"))
        elif item.type == "observations":
            if not item.observation_ids:
                faults.append(Fault(f"/items/{number}/observation_ids", "is empty"))
        elif not item.text:
            faults.append(Fault(f"/items/{number}/text", "is empty"))
    return faults


def _metadata_faults(metadata: Mapping[str, Any]) -> list[Fault]:
    size = len(orjson.dumps(metadata))
    return [Fault("/metadata", f"has {size} bytes; at most {METADATA_BYTES}")] if size > METADATA_BYTES else []


def _inherited_policies(settings: Mapping[str, Any]) -> tuple[ToolPolicy, ...]:
    """Return the tool policies of the run that spawned the session's agent."""
    return tuple(
        ToolPolicy(origin=one.origin, allow=one.allow, deny=one.deny)
        for one in scopes.inherited(settings, "tool_policies")
    )


def _route(state: State, session: Session, given: Input) -> tuple[str, str | None, Route]:
    config = state.definitions.config
    known = state.definitions.routes
    selector = given.route or session.settings["route"]
    route_id, model = routes.choose(selector, config.default_route, known)
    route = known[route_id]
    leaves = scopes.credential(session.settings, given.credential_scope)
    scopes.check_use(leaves, f"route:{route_id}", route.auth_ref)
    missing = routes.readiness(route_id, route, os.environ, state.slots)
    if missing:
        raise RouteNotReady(missing)
    model = given.model or model or route.model
    routes.check_asked(route_id, route, model, given.generation)
    return route_id, model, route


def narrowest(config: Config, session: Session, route: Route, asked: Mapping[str, Any] | None) -> Limits:
    """Return the narrowest of all limits of a run: those of kheish.yaml, the route, and the request.

    A session's total budget is checked before each call, since other runs spend from it, too.
    """
    base = config.limits
    levels: list[Mapping[str, Any]] = [
        {"turns": base.turns, "wall_time": base.wall_time, "tokens": base.tokens, "cost_usd": base.cost_usd},
        route.budget.model_dump() if route.budget else {},
        {key: value for key, value in (session.settings["budget"] or {}).items() if key not in SHARED},
        asked or {},
    ]
    limits: dict[str, Any] = {}
    for name in ("turns", "wall_time", "model_calls", "tokens", "cost_usd"):
        values = [seconds(value) for level in levels if (value := level.get(name)) is not None]
        limits[name] = min(values) if values else None
    return Limits(**{**limits, "turns": int(limits["turns"] or 500)})


def seconds(value: Any) -> Any:
    """Return a written duration in seconds; numbers are unchanged. Raises Invalid."""
    if not isinstance(value, str):
        return value
    try:
        return ids.duration(value)
    except ValueError as error:
        raise Invalid(f"{error}.", errors=[Fault("/budget/wall_time", str(error))]) from error


# --- schemas ----------------------------------------------------------------------------------------------------------


def schemas_key(session: Session, given: Input) -> str | None:
    """Return a digest of the schemas that apply to an input; None if there are none.

    The session's input contract is for callers, so it does not apply to a phase of a Flow, nor to messages; the schemas
    in the phase's acceptance were checked with its Playbook.
    """
    schemas = [] if given.flow else [*completion.schemas(given.completion)]
    contract = None if given.flow or given.message_ids else session.settings["input_contract"]
    if contract is None and given.output_contract is None and not schemas:
        return None
    return sha256(orjson.dumps([contract, given.output_contract, schemas])).hexdigest()


def check_schemas(contract: Any, given: Input) -> None:
    """Check an input against the session's input contract, and its own schemas. Blocks: call it in a thread.

    Raises Invalid, InvalidInput.
    """
    if given.output_contract is not None and (bad := contracts.check_schema(given.output_contract)):
        raise Invalid("The output contract is not a valid JSON Schema.", errors=bad)
    if bad := list(completion.schema_faults(given.completion)):
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in bad) + ".", errors=bad)
    if contract is None:
        return
    text = "\n".join(item.text for item in given.items if isinstance(item.text, str))
    faults = contracts.input_faults(contract, text)
    if faults:
        raise InvalidInput(
            "The input does not fit the session's contract: "
            + "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults),
            errors=faults,
        )
