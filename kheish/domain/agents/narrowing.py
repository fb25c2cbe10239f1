"""The rights of a child: those of its parent, narrowed. A request for more is refused with each wide place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kheish.domain import routes, scopes
from kheish.domain.agents.agent import Agent
from kheish.domain.events import Scope, ToolPolicy, frozen
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.skills import restricting
from kheish.domain.workers.definition import WorkerChoice
from kheish.errors import Fault

if TYPE_CHECKING:
    from kheish.state.state import State

#: permission modes, the narrowest first
MODES = ("plan", "dont_ask", "default", "accept_edits", "bypass")
_WILD = frozenset("*?[")


@frozen
class Rights:
    """The authority of an agent: frozen in its open run, else the settings of its session."""

    mode: str
    persona: dict[str, Any] | None
    rules: tuple[Any, ...]
    capability: scopes.Scopes
    credential: scopes.Scopes
    policies: tuple[ToolPolicy, ...]
    route: str | None
    workspace: str
    tokens: int | None = None
    cost_usd: float | None = None
    quotas: Mapping[str, int] = field(default_factory=dict)
    worker: str | None = None
    keeps_worker: bool = False
    """Whether its children work where it does."""


def _denied_by_skills(state: State, run: Run) -> Iterator[dict[str, Any]]:
    """Yield the rules by which the skills of a run deny calls, as session settings have rules."""
    for _, rules in restricting.denials(state, run):
        yield from (rule.model_dump(mode="json", exclude_unset=True) for rule in rules)


def rights(state: State, agent: Agent, run: Run | None) -> Rights:
    """Return the rights of a loaded agent, in its run if it has one."""
    session = state.get(Session, agent.session_id)
    settings, budget = session.settings, session.settings["budget"] or {}
    rules = tuple(settings["permission_rules"])
    if run is None:
        return Rights(
            mode=settings["permission_mode"],
            persona=settings["persona"],
            rules=rules,
            capability=scopes.capability(settings, settings["persona"], in_flow=False),
            credential=scopes.credential(settings),
            policies=(),
            route=settings["route"],
            workspace=settings["workspace"] or "",
            tokens=budget.get("tokens"),
            cost_usd=budget.get("cost_usd"),
            quotas=_quotas(settings, settings["persona"]),
            worker=session.worker,
            keeps_worker=settings.get("keeps_worker") is True,
        )
    frozen_ = run.settings
    return Rights(
        mode=run.mode,
        persona=frozen_.persona,
        rules=(*rules, *_denied_by_skills(state, run)),
        capability=frozen_.capability_scope,
        credential=frozen_.credential_scope,
        policies=(*frozen_.tool_policies, *restricting.policies(state, run)),
        route=f"{frozen_.route}/{frozen_.model}" if frozen_.model else frozen_.route,
        workspace=frozen_.workspace,
        tokens=_least(frozen_.limits.tokens, budget.get("tokens")),
        cost_usd=_least(frozen_.limits.cost_usd, budget.get("cost_usd")),
        quotas=_quotas(settings, frozen_.persona),
        worker=frozen_.worker or session.worker,
        keeps_worker=settings.get("keeps_worker") is True,
    )


def _quotas(settings: Mapping[str, Any], persona: Mapping[str, Any] | None) -> dict[str, int]:
    """Return the quotas that a persona sets, and those that the agents above handed down: the narrowest of each."""
    return narrowest((settings.get("inherited") or {}).get("quotas") or {}, (persona or {}).get("quotas") or {})


def narrowest(*quotas: Mapping[str, int]) -> dict[str, int]:
    """Return the least of each quota."""
    names = {name for one in quotas for name in one}
    return {name: _least(*(one.get(name) for one in quotas)) for name in sorted(names)}


def _least(*limits: Any) -> Any:
    return min((limit for limit in limits if limit is not None), default=None)


def narrowest_mode(*modes: str | None) -> str:
    """Return the narrowest of several permission modes; None stands for no restriction."""
    return min((mode for mode in modes if mode is not None), key=MODES.index)


def faults(
    state: State,
    rights: Rights,
    *,
    mode: str | None,
    tools: Mapping[str, Sequence[str] | None],
    capability: Mapping[str, Any] | None,
    credential: Mapping[str, Any] | None,
    route: str | None,
    budget: Mapping[str, Any] | None,
    workspace: str | None,
    worker: WorkerChoice | None,
    allow_bypass: bool,
) -> Iterator[Fault]:
    """Yield each place of a request that is wider than the rights of the parent."""
    if mode is not None and MODES.index(mode) > MODES.index(rights.mode):
        yield Fault("/permission_mode", f"{mode} is wider than the parent's mode {rights.mode}")
    elif mode == "bypass" and not allow_bypass:
        yield Fault("/permission_mode", "bypass needs a daemon that was started with --allow-bypass")
    restricting = (*rights.capability, *rights.policies)
    yield from _wide_names("/tools/allow", tools.get("allow"), restricting)
    yield from _wide_names("/capability_scope/allow", (capability or {}).get("allow"), restricting)
    yield from _wide_routes(state, rights, (credential or {}).get("allow"))
    if route is not None:
        route_id, _ = routes.choose(route, None, state.definitions.routes)
        if not _leaves(state, rights, route_id):
            yield Fault("/route", f"the parent's credential scope does not leave {route_id}")
    for name, most in (("tokens", rights.tokens), ("cost_usd", rights.cost_usd)):
        asked = (budget or {}).get(name)
        if asked is not None and most is not None and asked > most:
            yield Fault(f"/budget/{name}", f"{asked:g} is more than the parent's {most:g}")
    if workspace is not None and not _is_within(workspace, rights.workspace):
        yield Fault("/cwd", "is outside of the parent's workspace")
    if worker is not None and rights.keeps_worker and worker.id != rights.worker:
        yield Fault("/worker", "a limited token created the session: its agents work where it does; leave it out")


def _wide_names(place: str, allow: Iterable[str] | None, restricting: Iterable[Scope]) -> Iterator[Fault]:
    """Yield the names that the parent lacks. Globs are intersected, so that one that fits nothing allows nothing."""
    restricting = tuple(restricting)
    for number, name in enumerate(allow or ()):
        for scope in restricting if not _WILD & set(name) else ():
            if (why := scopes.fault(scope, name)) is not None:
                yield Fault(f"{place}/{number}", f"{scope.origin}, {why}")
                break


def _wide_routes(state: State, rights: Rights, allow: Iterable[str] | None) -> Iterator[Fault]:
    for number, name in enumerate(allow or ()):
        route_id = name.removeprefix("route:")
        if route_id in state.definitions.routes and not _leaves(state, rights, route_id):
            yield Fault(f"/credential_scope/allow/{number}", f"the parent's credential scope does not leave {route_id}")


def _leaves(state: State, rights: Rights, route_id: str) -> bool:
    slot = state.definitions.routes[route_id].auth_ref
    return scopes.leaves_use(rights.credential, f"route:{route_id}", slot)


def _is_within(path: str, folder: str) -> bool:
    return Path(path) == Path(folder) or Path(folder) in Path(path).parents


def handed_down(rights: Rights, *narrower: Scope) -> dict[str, Any]:
    """Return what a child keeps whatever becomes of its settings (`sessions.SETTINGS`, inherited): scopes, quotas."""
    return {
        "capability": [_written(one) for one in scopes.intersection(rights.capability, narrower)],
        "credential": [_written(one) for one in rights.credential],
        "tool_policies": [_written(one) for one in rights.policies],
        "quotas": dict(rights.quotas),
    }


def _written(scope: Scope) -> dict[str, Any]:
    origin = scope.origin if scope.origin.startswith("parent, ") else f"parent, {scope.origin}"
    allow = None if scope.allow is None else list(scope.allow)
    return {"origin": origin, "allow": allow, "deny": list(scope.deny)}
