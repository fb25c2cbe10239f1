"""OAuth accounts by HTTP, of model providers and of MCP servers: begin a login, return from it, renew and remove its
tokens. No answer holds a token."""

from __future__ import annotations

import html
from typing import Annotated, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, delete, get, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.auth.accounts import Wanted
from kheish.auth.browser_login import Login
from kheish.auth.stored_account import slot_of
from kheish.errors import Conflict, Invalid, NotFound

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Kheish</title></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
#: the answers of authorization servers that are read; they add more, which RFC 6749 (4.1.2) has clients ignore
RETURNED = tuple(Param(name=name) for name in ("state", "code", "iss", "error", "error_description"))


Url = Annotated[str, Field(min_length=1, max_length=2000)]


class AddAccount(Body):
    """A request to log in: at an MCP server, or to the account of a provider, which is added with its issuer and client
    the first time."""

    server: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The MCP server, whose file has auth: {oauth: …}."""
    account: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The account of a provider; its slot is `oauth.ACCOUNT`, which routes name as auth_ref."""
    issuer: Url | None = None
    """Its authorization server, to which its tokens are bound."""
    client_id: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """The client that is registered there; its redirect URI is that of /v1/auth/callback."""
    client_secret: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The slot with the client's secret, if it has one."""
    scopes: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=50)] = []
    """The scopes to ask for."""
    authorization_endpoint: Url | None = None
    """Needed only for an issuer without metadata, as are the others."""
    token_endpoint: Url | None = None
    revocation_endpoint: Url | None = None


class McpLogin(Answer):
    """A login to an account."""

    account: str
    """The account of a provider, or the MCP server."""
    server: str | None
    """The MCP server; null for the account of a provider."""
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
        self._accounts = services.accounts
        self._servers = services.state.definitions.by_kind["mcp"]
        self._refusals = services.refusals
        self._broker = services.broker
        services.closing.then(self._accounts.close)

    async def add_account(self, req: Request, resp: Response) -> None:
        """Begin a login (202), and answer with the page to open."""
        body, by = await media.read(req, AddAccount), req.context.principal
        if (body.server is None) == (body.account is None):
            raise Invalid("Name either a server or an account.")
        if body.server is not None:
            login = await self._logins.begin(body.server, by=by)
        else:
            login = await self._begin(body, by=by)
        media.send(resp, login.view(), status=202)

    async def _begin(self, body: AddAccount, *, by: str) -> Login:
        account = ids.check_slug(body.account or "", "account")
        if account in self._servers:
            raise Conflict(f"There is an MCP server {account!r}; choose another name for the account.")
        if body.issuer is None and body.client_id is None:
            return await self._accounts.begin(account, by=by)
        if body.issuer is None or body.client_id is None:
            raise Invalid("A new account needs both issuer and client_id.")
        given = body.model_dump(exclude={"server"})
        return await self._accounts.add(Wanted(**given), by=by)

    def _is_provider(self, account: str) -> bool:
        return account not in self._servers and self._accounts.knows(account)

    async def get_login(self, req: Request, resp: Response, account: str) -> None:
        """Answer with the newest login to an account."""
        logins = self._accounts if self._is_provider(account) else self._logins
        media.send(resp, logins.login(account).view())

    async def refresh_account(self, req: Request, resp: Response, account: str) -> None:
        """Renew the tokens of an account now (204)."""
        await media.read(req, Body)
        if self._is_provider(account):
            await self._accounts.refresh(account, by=req.context.principal)
        else:
            await self._logins.refresh(account)
        resp.status = 204

    async def remove_account(self, req: Request, resp: Response, account: str) -> None:
        """Remove the tokens of an account, end the work in flight with them, and revoke them at their issuer (204)."""
        by = req.context.principal
        if self._is_provider(account):
            self._broker.end(slot_of(account))
            await self._accounts.remove(account, by=by)
        else:
            await self._logins.revoke(account, by=by)
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
            login = self._accounts.arrived(given["state"], given) or self._logins.arrived(given["state"], given)
        except NotFound as unknown:
            self._refusals.failed(req, "the login is not known")
            return _page(resp, "This login is over", unknown.detail, 404)
        if given.get("error"):
            text = f"Nothing was stored for {login.account}. You can close this page."
            return _page(resp, "The login was refused", text, 200)
        return _page(resp, "Done", f"Kheish logs in at {login.account}. You can close this page.", 200)


def _page(resp: Response, title: str, text: str, status: int) -> None:
    resp.status = status
    resp.content_type = "text/html; charset=utf-8"
    resp.set_header("Cache-Control", "no-store")
    resp.set_header("Content-Security-Policy", "default-src 'none'")
    resp.text = _PAGE.format(title=html.escape(title), text=html.escape(text))


CALLBACK = "/v1/auth/callback"
ONE = "/v1/auth/accounts/{account}"
OPERATIONS = bind(
    Accounts,
    post(
        "/v1/auth/accounts",
        Accounts.add_account,
        "Begin a login by OAuth, at an MCP server or a provider: the answer has the page to open.",
        AddAccount,
        McpLogin,
        good=(202,),
        problems=(404, 409, 502),
    ),
    get(f"{ONE}/login", Accounts.get_login, "The newest login to an account.", McpLogin, problems=(404,)),
    post(
        f"{ONE}/refresh",
        Accounts.refresh_account,
        "Renew the OAuth tokens of an account now.",
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
        foreign=True,
        problems=(400, 429),
    ),
    delete(
        ONE,
        Accounts.remove_account,
        "Remove the OAuth tokens of an account, and revoke them.",
        problems=(404,),
        name="remove_account",
    ),
)
