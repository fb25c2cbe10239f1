"""Scopes: the visible tools, skills and MCP servers of an agent, and its usable routes, connectors and accounts.

A name is available if every scope in the list leaves it: the session's, its persona's, its Playbook's. So a scope can
only take away, and kinds without a scope are unrestricted. Within a scope, deny wins over allow; an empty `allow`
leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from kheish.domain.events.runs import Scope
from kheish.errors import OutOfScope

Scopes = tuple[Scope, ...]
#: the tool with which a Flow's agent attaches evidence; an allow list may omit it, a deny list may name it
ATTACH = "attach_evidence"
_SESSION = "session"

Glob = Annotated[str, Field(min_length=1, max_length=500)]


class _Lists(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: list[Glob] | None = Field(default=None, description="Only these; an empty list allows nothing.")
    deny: list[Glob] = Field(default_factory=list, description="Never these.")


class CapabilityScope(_Lists):
    """The names visible to the agent: globs over tools (`read_*`, `mcp__github__*`), skills and MCP servers
    (`mcp:github`); deny wins. Null allows all."""


class CredentialScope(_Lists):
    """The names usable for the agent: globs over routes (`main`, or `route:main`), connectors and accounts, by their
    names or by the slots that they use (`openai.*`, `env:*`); deny wins. Null allows all."""


# --- scopes of a run --------------------------------------------------------------------------------------------------


def intersection(*scopes: Iterable[Scope]) -> Scopes:
    """Return the intersection of all scopes: a name that one of them takes away stays away."""
    return tuple(dict.fromkeys(one for some in scopes for one in some))


def capability(settings: Mapping[str, Any], persona: Mapping[str, Any] | None, *, in_flow: bool) -> Scopes:
    """Return the capability scopes of a run, from the settings of its session and the snapshot of its persona."""
    besides = (ATTACH,) if in_flow else ()
    own = _of(f"{_SESSION}, capability scope", settings.get("capability_scope"), besides)
    of_session = intersection(inherited(settings, "capability"), own)
    lists = persona.get("capability_scope") if persona is not None else None
    if persona is None or lists is None:
        return of_session
    return intersection(of_session, _of(f"persona {persona['persona_id']}, capability scope", lists, besides))


def credential(settings: Mapping[str, Any], given: Iterable[Scope] = ()) -> Scopes:
    """Return the credential scopes of a run, from the settings of its session and the scopes `given` by its
    Playbook."""
    of_session = _of(f"{_SESSION}, credential scope", settings.get("credential_scope"))
    return intersection(given, inherited(settings, "credential"), of_session)


def inherited(settings: Mapping[str, Any], kind: str) -> Scopes:
    """Return the scopes of some kind that a spawned agent's session has of its parent, whatever its own settings."""
    scopes = (settings.get("inherited") or {}).get(kind, ())
    return tuple(Scope(origin=one["origin"], allow=_names(one["allow"]), deny=tuple(one["deny"])) for one in scopes)


def _names(allow: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if allow is None else tuple(allow)


def given(frozen: Iterable[Scope]) -> Scopes:
    """Return the frozen scopes of a run without its session's: a retry takes these from the session as it is then."""
    return tuple(one for one in frozen if not one.origin.startswith(f"{_SESSION},"))


def _of(origin: str, lists: Mapping[str, Any] | None, besides: tuple[str, ...] = ()) -> Scopes:
    if lists is None:
        return ()
    allow = None if lists["allow"] is None else (*lists["allow"], *besides)
    return (Scope(origin=origin, allow=allow, deny=tuple(lists["deny"])),)


# --- checks -----------------------------------------------------------------------------------------------------------


def fault(scope: Scope, name: str, *, aliases: Iterable[str] = (), denied_as: Iterable[str] = ()) -> str | None:
    """Return the reason why a scope does not leave a name; None if it does.

    Its lists may use an alias of the name as well; under the names of `denied_as` it can only be denied.
    """
    names = (name, *aliases)
    for glob in scope.deny:
        if any(fnmatchcase(known, glob) for known in (*names, *denied_as)):
            return f"excludes {name} (deny: {glob})"
    if scope.allow is None or any(fnmatchcase(known, glob) for known in names for glob in scope.allow):
        return None
    return f"allows only {', '.join(scope.allow) or 'nothing at all'}"


def leaves_use(scopes: Iterable[Scope], audience: str, slot: str | None) -> bool:
    """Return whether all of the scopes leave the purpose of a credential (`route:main`), and the slot that it uses."""
    return _in_the_way(scopes, audience, slot) is None


def check_use(scopes: Iterable[Scope], audience: str, slot: str | None) -> None:
    """Raise OutOfScope if a scope does not leave the use."""
    obstacle = _in_the_way(scopes, audience, slot)
    if obstacle is not None:
        (origin, why), (kind, _, name) = obstacle, audience.partition(":")
        uses = f" (it uses {slot})" if slot else ""
        raise OutOfScope(
            f"The {kind} {name!r}{uses} may not be used here: {origin}, {why}. Choose another {kind}, or widen that "
            "scope.",
            scope=origin,
        )


def _in_the_way(scopes: Iterable[Scope], audience: str, slot: str | None) -> tuple[str, str] | None:
    aliases = (audience, slot) if slot else (audience,)
    for scope in scopes:
        if (why := fault(scope, audience.partition(":")[2], aliases=aliases)) is not None:
            return scope.origin, why
    return None
