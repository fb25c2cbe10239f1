"""The audit's entry for each kind of event, as a table. It is in the event's own group, so no action lacks its entry.

External actions are model calls (except scripted ones), web pages, calls of MCP servers, commands with network, and
deliveries. The
audit also has every change of secrets, tokens, logins and access, every approval, and what persons decide about
proposals in channels and results of projects' tasks.
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
from kheish.domain.mcp import names

#: a route's id → the name of its driver; None for a route that does not exist (any more)
DriverOf = Callable[[str], str | None]
#: drivers that contact nothing outside
INSIDE = frozenset({"scripted", "replay"})
_WEB = frozenset({"web_fetch"})
_MCP = frozenset({"list_mcp_resources", "read_mcp_resource", "get_mcp_prompt"})


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
    if event.tool.startswith(names.PREFIX) or event.tool in _MCP:
        return "mcp"
    return "http" if event.tool in _WEB else "shell"


def _hook(event: Any, _: DriverOf) -> _Said:
    return "hook", "begun", f"{event.hook}: {event.event}", event.digest, None


def _hook_settled(event: Any, _: DriverOf) -> _Said:
    return "hook", "failed" if event.result in ("failed", "cancelled") else "done", event.hook, None, None


def _resolved(event: Any, _: DriverOf) -> _Said:
    return "approval", "done" if event.outcome == "allowed" else "refused", event.approval_id, event.digest, None


def _decided(event: Any, _: DriverOf) -> _Said:
    """Return the entry for a first allow: the call still needs the allow of another person."""
    return "approval", "begun", event.approval_id, event.digest, None


def _closed(event: Any, _: DriverOf) -> _Said | None:
    """Return the entry for a person's decision on a proposal in a channel; its time may also be over."""
    if event.state == "expired":
        return None
    outcome: Outcome = "done" if event.state == "accepted" else "refused"
    return "approval", outcome, f"proposal {event.channel_id}/{event.proposal_id}: {event.state}", event.digest, None


def _accepted(event: Any, _: DriverOf) -> _Said | None:
    """Return the entry for the result of a project's task that a person accepted; others end without one."""
    return ("approval", "done", _project_task(event, "accepted"), None, None) if event.accepted else None


def _rejected(event: Any, _: DriverOf) -> _Said:
    return "approval", "refused", _project_task(event, "rejected"), None, None


def _project_task(event: Any, what: str) -> str:
    return f"project task {event.project}/{event.task_id}: {what}"


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


def _stored(event: Any, _: DriverOf) -> _Said:
    return "asset", "done", f"{event.asset_id}: stored", event.asset_id.removeprefix("sha256:"), None


def _removed(event: Any, _: DriverOf) -> _Said:
    return "asset", "done", f"{event.asset_id}: deleted", event.asset_id.removeprefix("sha256:"), None


def _delivery_started(event: Any, _: DriverOf) -> _Said:
    return "delivery", "begun", event.delivery_id, event.digest or None, None


def _delivery_ended(event: Any, _: DriverOf) -> _Said:
    outcome: Outcome = "done" if isinstance(event, events.DeliveryDelivered) else "failed"
    return "delivery", outcome, event.delivery_id, None, None


def _delivery_settled(event: Any, _: DriverOf) -> _Said:
    return "delivery", "refused", f"{event.delivery_id}: resolved", None, None


def _output_tested(event: Any, _: DriverOf) -> _Said:
    return "delivery", "failed" if event.error else "done", f"test of {event.output}", None, None


def _output_switched(event: Any, _: DriverOf) -> _Said:
    return "delivery", "done", f"output {event.output}: {event.state}", None, None


def _ask_made(event: Any, _: DriverOf) -> _Said:
    return "delivery", "begun", f"{event.connector_id}: {event.about} {event.thing_id}", event.digest, None


def _ask_closed(event: Any, _: DriverOf) -> _Said:
    outcome: Outcome = "failed" if event.reason else "done"
    return "delivery", outcome, f"{event.connector_id}: {event.ask_id}", None, None


_TABLE: Mapping[type[Event], Callable[[Any, DriverOf], _Said | None]] = {
    events.ModelRequested: _requested,
    events.ModelResponded: _responded,
    events.ModelFailed: _model_failed,
    events.ToolStarted: _started,
    events.ToolFinished: _finished,
    events.HookInvoked: _hook,
    events.HookSettled: _hook_settled,
    events.ApprovalDecided: _decided,
    events.ApprovalResolved: _resolved,
    events.ProposalClosed: _closed,
    events.ProjectTaskEnded: _accepted,
    events.ProjectTaskRejected: _rejected,
    events.SecretChanged: _secret,
    events.TokenChanged: _token,
    events.LoginChanged: _login,
    events.AccessRevoked: _revoked,
    events.AccessRestored: _restored,
    events.AssetStored: _stored,
    events.AssetStoredAgain: _stored,
    events.AssetDeleted: _removed,
    events.AskMade: _ask_made,
    events.AskClosed: _ask_closed,
    events.DeliveryStarted: _delivery_started,
    events.DeliveryDelivered: _delivery_ended,
    events.DeliveryDelayed: _delivery_ended,
    events.DeliveryHeld: _delivery_ended,
    events.DeliveryDied: _delivery_ended,
    events.DeliveryResolved: _delivery_settled,
    events.OutputTested: _output_tested,
    events.OutputSwitched: _output_switched,
}


def _digest(value: Any) -> str:
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
