"""The audit's entry for each kind of event, as a table. It is in the event's own group, so no action lacks its entry.

External actions are model calls (except scripted ones), web pages, and commands with network. The audit also has every
change of secrets, tokens, logins and access, and every approval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

import orjson

from kheish.domain import events
from kheish.domain.definitions import InForce
from kheish.domain.events import AuditRecorded, Draft, Event
from kheish.domain.events.auth import Action, Outcome

#: a route's id → the name of its driver; None for a route that does not exist (any more)
DriverOf = Callable[[str], str | None]
#: drivers that contact nothing outside
INSIDE = frozenset({"scripted", "replay"})
_WEB = frozenset({"web_fetch"})


def companions(drafts: Iterable[Draft], known: InForce) -> list[Draft]:
    """Return the audit's entries for events that are about to be appended."""
    concerned = [draft for draft in drafts if type(draft.event) in _TABLE]
    if not concerned:  # true for almost every group
        return []

    def driver_of(route_id: str) -> str | None:
        route = known.by_kind["routes"].get(route_id)
        return route.value.driver if route else None

    entries = (companion(draft, driver_of) for draft in concerned)
    return [draft for draft in entries if draft is not None]


def companion(draft: Draft, driver_of: DriverOf) -> Draft | None:
    """Return the audit's entry for an event; None for an event that is not audited."""
    about = _TABLE.get(type(draft.event))
    summary = about(draft.event, driver_of) if about is not None else None
    if summary is None:
        return None
    action, outcome, target, request, response = summary
    recorded = AuditRecorded(
        action=action,
        outcome=outcome,
        subject=draft.actor,
        target=target,
        session=draft.session,
        run=draft.run,
        request_digest=request,
        response_digest=response,
    )
    return recorded.on(by=draft.actor)


_Said = tuple[Action, Outcome, str | None, str | None, str | None]


def _requested(event: Any, driver_of: DriverOf) -> _Said | None:
    outside = driver_of(event.route) not in INSIDE
    return ("model", "begun", _model(event), event.digest, None) if outside else None


def _responded(event: Any, driver_of: DriverOf) -> _Said | None:
    if driver_of(event.route) in INSIDE:
        return None
    return "model", "done", _model(event), None, _digest([event.text, event.calls])


def _model_failed(event: Any, driver_of: DriverOf) -> _Said | None:
    if driver_of(event.route) in INSIDE:
        return None
    return "model", "failed", f"{event.route}: {event.error.code}", None, None


def _model(event: Any) -> str:
    return f"{event.route}/{event.model}" if event.model else str(event.route)


def _started(event: Any, _: DriverOf) -> _Said | None:
    return (_by_tool(event), "begun", event.tool, event.digest, None) if event.network else None


def _finished(event: Any, _: DriverOf) -> _Said | None:
    if not event.network:
        return None
    return _by_tool(event), "failed" if event.is_error else "done", event.tool, None, _digest(event.content)


def _by_tool(event: Any) -> Action:
    return "http" if event.tool in _WEB else "shell"


def _resolved(event: Any, _: DriverOf) -> _Said:
    return "approval", "done" if event.outcome == "allowed" else "refused", event.approval_id, event.digest, None


def _decided(event: Any, _: DriverOf) -> _Said:
    """Return the entry for a first allow: the call still needs the allow of another person."""
    return "approval", "begun", event.approval_id, event.digest, None


def _secret(event: Any, _: DriverOf) -> _Said:
    return "secret", "done", f"{event.slot}: {event.change}", event.digest, None


def _token(event: Any, _: DriverOf) -> _Said:
    return "token", "done", f"{event.name} ({event.role}): {event.change}", None, None


def _login(event: Any, _: DriverOf) -> _Said:
    return "auth", "done", f"login {event.login_id}: {event.change}", None, None


def _revoked(event: Any, _: DriverOf) -> _Said:
    return "access", "done", f"{event.what} {event.id}: revoked", None, None


def _restored(event: Any, _: DriverOf) -> _Said:
    return "access", "done", f"{event.what} {event.id}: restored", None, None


_TABLE: Mapping[type[Event], Callable[[Any, DriverOf], _Said | None]] = {
    events.ModelRequested: _requested,
    events.ModelResponded: _responded,
    events.ModelFailed: _model_failed,
    events.ToolStarted: _started,
    events.ToolFinished: _finished,
    events.ApprovalDecided: _decided,
    events.ApprovalResolved: _resolved,
    events.SecretChanged: _secret,
    events.TokenChanged: _token,
    events.LoginChanged: _login,
    events.AccessRevoked: _revoked,
    events.AccessRestored: _restored,
}


def _digest(value: Any) -> str:
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
