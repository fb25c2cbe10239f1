"""Logins at MCP servers by HTTP: begin one, return from it, renew and remove its tokens. No answer holds a token."""

from __future__ import annotations

import html
from typing import Annotated, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, delete, get, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.errors import Invalid, NotFound

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Kheish</title></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
#: what authorization servers send back; the last ones are not read
RETURNED = tuple(
    Param(name=name)
    for name in (
        "state", "code", "iss", "error", "error_description", "error_uri", "scope", "session_state", "authuser",
        "prompt", "hd",
    )
)  # fmt: skip


class AddAccount(Body):
    """A request to log in at an MCP server."""

    server: Annotated[str, Field(min_length=1, max_length=128)]
    """The server, whose file has auth: {oauth: …}."""


class McpLogin(Answer):
    """A login at an MCP server."""

    server: str
    status: Literal["waiting", "done", "failed"]
    url: str | None
    """The page to open in a browser, while it waits."""
    expires_at: str | None
    """The end of the wait."""
    reason: str | None
    """The reason of a failure."""


class Accounts:
    """The resource of the paths below `/v1/auth/accounts` that change something."""

    def __init__(self, services: Services) -> None:
        self._logins = services.mcp.logins
        self._refusals = services.refusals

    async def add_account(self, req: Request, resp: Response) -> None:
        """Begin a login (202), and answer with the page to open."""
        body = await media.read(req, AddAccount)
        login = await self._logins.begin(body.server, by=req.context.principal)
        media.send(resp, login.view(), status=202)

    async def get_login(self, req: Request, resp: Response, server: str) -> None:
        """Answer with the newest login at a server."""
        media.send(resp, self._logins.login(server).view())

    async def refresh_account(self, req: Request, resp: Response, server: str) -> None:
        """Renew the tokens of a server now (204)."""
        await media.read(req, Body)
        await self._logins.refresh(server)
        resp.status = 204

    async def remove_account(self, req: Request, resp: Response, server: str) -> None:
        """Remove the tokens of a server, and revoke them at their issuer (204)."""
        await self._logins.revoke(server, by=req.context.principal)
        resp.status = 204

    async def return_from_login(self, req: Request, resp: Response) -> None:
        """Take a user's browser that comes back from an authorization server: its secret is the login's state."""
        given = req.context.query
        if not given.get("state") or not (given.get("code") or given.get("error")):
            error = Invalid("This is no return from a login: state, and code or error, are missing.")
            if not media.wants_page(req):
                raise error
            return _page(resp, "No return from a login", error.detail, error.status)
        try:
            login = self._logins.arrived(given["state"], given)
        except NotFound as unknown:
            self._refusals.failed(req, "the login is not known")
            return _page(resp, "This login is over", unknown.detail, 404)
        if given.get("error"):
            text = f"Nothing was stored for {login.server}. You can close this page."
            return _page(resp, "The login was refused", text, 200)
        return _page(resp, "Done", f"Kheish logs in at {login.server}. You can close this page.", 200)


def _page(resp: Response, title: str, text: str, status: int) -> None:
    resp.status = status
    resp.content_type = "text/html; charset=utf-8"
    resp.set_header("Cache-Control", "no-store")
    resp.set_header("Content-Security-Policy", "default-src 'none'")
    resp.text = _PAGE.format(title=html.escape(title), text=html.escape(text))


CALLBACK = "/v1/auth/callback"
ONE = "/v1/auth/accounts/{server}"
OPERATIONS = bind(
    Accounts,
    post(
        "/v1/auth/accounts",
        Accounts.add_account,
        "Begin a login at an MCP server by OAuth: the answer has the page to open.",
        AddAccount,
        McpLogin,
        good=(202,),
        problems=(404, 409, 502),
    ),
    get(f"{ONE}/login", Accounts.get_login, "The newest login at an MCP server.", McpLogin, problems=(404,)),
    post(
        f"{ONE}/refresh",
        Accounts.refresh_account,
        "Renew the OAuth tokens of an MCP server now.",
        Body,
        None,
        good=(204,),
        problems=(404, 409),
    ),
    get(
        CALLBACK,
        Accounts.return_from_login,
        "Return from an authorization server, with a browser.",
        None,
        *RETURNED,
        media="text/html",
        good=(200, 404),  # a browser shows both
        open=True,
        problems=(400, 429),
    ),
    delete(
        ONE,
        Accounts.remove_account,
        "Remove the OAuth tokens of an MCP server, and revoke them.",
        problems=(404,),
        name="remove_account",
    ),
)
