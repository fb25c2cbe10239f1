"""Permission modes as the editor's modes, and routes as a configuration option."""

from __future__ import annotations

from typing import Any

from acp.schema import SessionConfigOptionSelect, SessionConfigSelectOption, SessionMode, SessionModeState

from kheish.client import requests
from kheish.errors import KheishError
from kheish.protocols.access import Access

ROUTE = "route"
#: a session without a route of its own
DEFAULT = "default"
_MODES = {
    "default": ("Ask", "Ask before calls that no rule permits."),
    "accept_edits": ("Accept edits", "Edit files in the workspace without asking."),
    "plan": ("Plan", "Read only, and propose a plan."),
    "dont_ask": ("Don't ask", "Deny what would be asked."),
    "bypass": ("Bypass", "Permit everything that no rule denies."),
}


def modes(session: Any) -> SessionModeState:
    """Return the modes; bypass is offered only where it is set."""
    current = session["permission_mode"] or DEFAULT
    listed = [id for id in _MODES if id != "bypass" or current == id]
    return SessionModeState(
        current_mode_id=current,
        available_modes=[SessionMode(id=id, name=_MODES[id][0], description=_MODES[id][1]) for id in listed],
    )


async def routes(access: Access, session: Any) -> list[Any]:
    """Return the option of routes; none if the caller may not list them."""
    try:
        report: Any = await access.send(requests.runtime())
    except KheishError:
        return []
    current = session["route"] or DEFAULT
    ids = [one["id"] for one in report["routes"] if one["status"] == "ready"]
    values = list(dict.fromkeys([DEFAULT, *ids, current]))
    return [
        SessionConfigOptionSelect(
            id=ROUTE,
            name="Route",
            category="model",
            current_value=current,
            options=[SessionConfigSelectOption(value=value, name=value) for value in values],
            type="select",
        )
    ]
