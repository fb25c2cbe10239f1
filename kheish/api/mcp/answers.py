"""Answers to approvals and questions that come by other protocols, and how far they count."""

from __future__ import annotations

from typing import Literal

from kheish.api.services import Services
from kheish.auth.tokens import Principal
from kheish.errors import Forbidden

#: `mcp`, `acp`, `agui`: a form that a client of that protocol showed to its user; `mcp_tool`: a tool call, which a
#: model makes
Via = Literal["mcp", "mcp_tool", "acp", "agui"]


def check(services: Services, via: Via | None) -> None:
    """Raise Forbidden for a tool's answer where the operator has not permitted such answers."""
    if via == "mcp_tool" and services.config().mcp.approvals != "tool":
        raise Forbidden(
            "A tool may not answer here; a user answers in the client's form, the console or the command line. "
            "(`mcp: {approvals: tool}` in kheish.yaml permits it.)"
        )


def person(caller: Principal, via: Via | None) -> str | None:
    """Return the person whom an answer proves: a client may answer by itself, so its answers prove none."""
    return caller.person if via is None else None
