"""A login at an authorization server in a user's browser: the page to open, and the return from it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kheish import ids
from kheish.errors import Conflict

#: seconds in which a user has to return
PATIENCE = 600.0
#: logins whose end is remembered
KEPT = 100


@dataclass(slots=True, kw_only=True)
class Login:
    """A login in progress, or its end. `server` is an MCP server; None for the account of a provider. `state` is the
    protocol's word for it in the browser's requests."""

    account: str
    server: str | None = None
    by: str
    url: str | None = None
    state: str | None = None
    status: Literal["waiting", "done", "failed"] = "waiting"
    reason: str | None = None
    expires: float = 0.0
    shown: asyncio.Event = field(default_factory=asyncio.Event)
    returned: asyncio.Future[dict[str, str | None]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def view(self) -> dict[str, Any]:
        """Return the login as the API shows it."""
        return {
            "account": self.account,
            "server": self.server,
            "status": self.status,
            "url": self.url if self.status == "waiting" else None,
            "expires_at": ids.stamp(self.expires) if self.status == "waiting" else None,
            "reason": self.reason,
        }

    def take(self, answer: Mapping[str, str | None]) -> None:
        """Take what the authorization server sent with the browser."""
        if answer.get("error"):
            why = answer.get("error_description") or answer["error"]
            self.returned.set_exception(Conflict(f"the authorization server refused: {why}"))
        else:
            code = {"code": answer.get("code") or "", "state": self.state, "iss": answer.get("iss")}
            self.returned.set_result(code)


def waiting(logins: Mapping[str, Login], state: str) -> Login | None:
    """Return the login that waits for a return with this state."""
    return next(
        (one for one in logins.values() if one.state == state and one.status == "waiting" and not one.returned.done()),
        None,
    )


def keep(logins: dict[str, Login], login: Login) -> None:
    """Remember a login as the newest of its account; the oldest of too many is forgotten."""
    logins.pop(login.account, None)
    if len(logins) >= KEPT:
        logins.pop(next(iter(logins)))
    logins[login.account] = login
