"""Edits that widen the rights or the spending of agents, which must not come unseen by a pull.

Each Definition is compared with the version in force field by field; a removed Definition, with one without bounds,
since it could be re-added as a new one. A new route is compared with those of the same target: it may be no wider than
one of them. *Rejected:* asking for every edit (instructions and descriptions are what clones are for); a list of
harmful settings in `generation`, which no provider adheres to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kheish import ids
from kheish.domain import routes
from kheish.domain.agents.narrowing import MODES
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.definitions import Definition
from kheish.domain.mcp.server import McpServer
from kheish.domain.outputs.definition import OutputFile
from kheish.domain.personas import AgentLimits, Persona
from kheish.domain.routes import Price, Route, RouteBudget, RouteLimits
from kheish.domain.scopes import CapabilityScope
from kheish.domain.workers.definition import WorkerFile

#: settings of a model that change neither spending nor rights
_HARMLESS = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "min_p", "presence_penalty", "repetition_penalty", "seed", "stop",
    "temperature", "top_k", "top_logprobs", "top_p", "user", "verbosity",
})  # fmt: skip
_BUDGET = tuple(RouteBudget.model_fields)
_LIMITS = tuple(RouteLimits.model_fields)


def widened(before: Mapping[str, Definition], after: Mapping[str, Definition]) -> list[str]:
    """Return `path: field, field` for each Definition that would widen rights or spending."""
    widenings = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is not new and (fields := list(dict.fromkeys(_fields(old, new, before)))):
            widenings.append(f"{path} ({', '.join(fields)})")
    return widenings


def _fields(old: Definition | None, new: Definition | None, before: Mapping[str, Definition]) -> Iterator[str]:
    match (old and old.value, new and new.value):
        case (Persona() as one, Persona() as other):
            yield from _persona(one, other)
        case (Persona() as one, None):
            yield from _persona(one, one.model_copy(update=_UNBOUND))
        case (Route() as one, Route() as other):
            if routes.destination(one) != routes.destination(other):
                yield "destination"
            if one.model != other.model and other.auth_ref is not None:
                yield "model"
            yield from _route(one, other)
        case (Route() as one, None):
            yield from _route(one, one.model_copy(update={"budget": None, "limits": RouteLimits(), "price": None}))
        case (None, Route() as other):
            yield from _new_route(other, before)
        case (_, McpServer() as other):
            yield from _server(old.value if old is not None else None, other)
        case (_, ConnectorFile() as other):
            yield from _door(old.value if old is not None else None, other, _CONNECTOR_BOUNDS)
        case (_, OutputFile() as other):
            yield from _door(old.value if old is not None else None, other, _OUTPUT_BOUNDS)
        case (_, WorkerFile() as other):
            yield from _door(old.value if old is not None else None, other, _WORKER_BOUNDS)


# --- routes -----------------------------------------------------------------------------------------------------------


def _new_route(new: Route, before: Mapping[str, Definition]) -> Iterator[str]:
    known = [one.value for one in before.values() if isinstance(one.value, Route)]
    alike = [one for one in known if routes.destination(one) == routes.destination(new) is not None]
    differences = [list(_route(one, new)) for one in alike]
    if differences and all(differences):
        yield from min(differences, key=len)


def _route(old: Route, new: Route) -> Iterator[str]:
    """Yield the fields by which a route spends more, or does more, than another."""
    yield from (
        f"budget.{name}" for name in _BUDGET if _raised(_limit_of(old.budget, name), _limit_of(new.budget, name))
    )
    yield from (
        f"limits.{name}" for name in _LIMITS if _raised(_limit_of(old.limits, name), _limit_of(new.limits, name))
    )
    if _is_cheaper(old.price, new.price):
        yield "price"  # the spending is counted by it
    if new.max_retries > old.max_retries:
        yield "max_retries"
    if new.capabilities.tools and not old.capabilities.tools:
        yield "capabilities.tools"
    if _raised(old.capabilities.context_window, new.capabilities.context_window):
        yield "capabilities.context_window"
    if set(new.fallbacks) - set(old.fallbacks):
        yield "fallbacks"
    for name in sorted(old.generation.keys() | new.generation.keys()):
        if name not in _HARMLESS and old.generation.get(name) != new.generation.get(name):
            yield f"generation.{name}"


def _limit_of(part: RouteBudget | RouteLimits | None, name: str) -> float | None:
    value: float | None = getattr(part, name, None)
    return value


def _raised(old: float | None, new: float | None) -> bool:
    return old is not None and (new is None or new > old)


def _is_cheaper(old: Price | None, new: Price | None) -> bool:
    if old is None or new is None:
        return old is not None
    return any(mine < theirs for mine, theirs in zip(_prices(new), _prices(old), strict=True))


def _prices(price: Price) -> tuple[float, float, float]:
    cached = price.input_per_mtok if price.cached_input_per_mtok is None else price.cached_input_per_mtok
    return price.input_per_mtok, price.output_per_mtok, cached


# --- MCP servers ------------------------------------------------------------------------------------------------------

#: fields of a server that neither reach a new destination nor lend it a credential
_SERVER_BOUNDS = frozenset({"disabled", "max_message", "per", "protocol", "start_timeout", "timeout"})


def _server(old: McpServer | None, new: McpServer) -> Iterator[str]:
    """Yield the fields by which a server is another one, or counts for more: prompts and credentials go there."""
    if new.disabled:
        return
    for name in McpServer.model_fields:
        if name not in _SERVER_BOUNDS and (old is None or getattr(old, name) != getattr(new, name)):
            default = McpServer.model_fields[name].get_default(call_default_factory=True)
            if old is not None or getattr(new, name) != default:
                yield name
    if old is not None and old.disabled:
        yield "disabled"


# --- connectors, outputs and workers ----------------------------------------------------------------------------------

#: fields of a connector by which no other caller gets in, and nothing else starts
_CONNECTOR_BOUNDS = frozenset({"disabled", "max_bytes", "rate", "title"})
#: fields of an output by which nothing goes elsewhere, and no other credential goes with it
_OUTPUT_BOUNDS = frozenset({"disabled", "format", "on_unknown", "order", "retry", "timeout"})
#: fields of a worker by which no workspace goes to another machine, and nothing runs there unconfined
_WORKER_BOUNDS = frozenset({"disabled", "resources", "title"})
_Door = ConnectorFile | OutputFile | WorkerFile


def _door(old: _Door | None, new: _Door, bounds: frozenset[str]) -> Iterator[str]:
    """Yield the fields by which others may start work, answer for a person, or get what outputs and workspaces hold."""
    if new.disabled:
        return
    for name, field in type(new).model_fields.items():
        before = getattr(old, name) if old is not None else field.get_default(call_default_factory=True)
        if name not in bounds and before != getattr(new, name):
            yield field.alias or name
    if old is not None and old.disabled:
        yield "disabled"


# --- personas ---------------------------------------------------------------------------------------------------------


def _persona(old: Persona, new: Persona) -> Iterator[str]:
    if _is_wider(old.capability_scope, new.capability_scope):
        yield "capability_scope"
    if set(new.default_skills) - set(old.default_skills):
        yield "default_skills"
    if new.memory == "write" and old.memory != "write":
        yield "memory"
    for name in ("tools", "skills"):
        if _has_more(getattr(old, name), getattr(new, name)):
            yield name
    if set(old.disallowed_tools) - set(new.disallowed_tools):
        yield "disallowed_tools"
    if old.permission_mode is not None and _mode(new.permission_mode) > _mode(old.permission_mode):
        yield "permission_mode"
    for name in AgentLimits.model_fields:
        if _raised(_bound_of(old.limits, name), _bound_of(new.limits, name)):
            yield f"limits.{name}"


#: the fields of a persona without bounds
_UNBOUND: Mapping[str, Any] = {
    "capability_scope": None, "tools": None, "skills": None, "disallowed_tools": [], "permission_mode": None,
    "limits": None,
}  # fmt: skip


def _has_more(old: list[str] | None, new: list[str] | None) -> bool:
    return old is not None and (new is None or bool(set(new) - set(old)))


def _mode(mode: str | None) -> int:
    """Return the rank of a permission mode; without one, the agent has the mode of its parent, which may be any."""
    return MODES.index(mode) if mode is not None else len(MODES)


def _bound_of(limits: AgentLimits | None, name: str) -> float | None:
    value = getattr(limits, name, None)
    return ids.duration(value) if isinstance(value, str) else value


def _is_wider(old: CapabilityScope | None, new: CapabilityScope | None) -> bool:
    """Return whether a scope may permit more than the other.

    The comparison is by its globs: a different spelling counts as wider.
    """
    if old is None:
        return False
    allow: Any = new.allow if new is not None else None
    deny = new.deny if new is not None else []
    opens = old.allow is not None and (allow is None or bool(set(allow) - set(old.allow)))
    return opens or bool(set(old.deny) - set(deny))
