"""Browser logins: a link that works once, its page, and the current login.

The page requires a click on its button, and opening its link (GET) uses nothing up: browsers, chats and mail programs
prefetch links, and a link from another person must not silently log the user in under another name. The form's answer
redirects within the site, so that the strict cookie is sent at once.
"""

from __future__ import annotations

import asyncio
from html import escape
from typing import Annotated, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api.http import browsers, media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, delete, get, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.auth import logins
from kheish.auth.tokens import Principal
from kheish.errors import Forbidden, Unauthorized

PAGE = (Param(name="code", about="The code at the end of the link."),)
#: the target of the redirect after a login
AFTER = "/"
_STALE = "This link was already used, or is older than a minute; request another: kheish login"
_HEADERS = {
    # Not `no-referrer`: browsers would send the form with `Origin: null`. This policy never sends the code either.
    "Referrer-Policy": "strict-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}
_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kheish: log in</title>
<style>:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 40rem; margin: 0 auto; padding: 1rem }} button {{ font: inherit; padding: .4rem 1rem }}</style>
<main>
<h1>Kheish</h1>
{body}
</main>
</html>
"""
_FORM = """<form method="post" action="/login">
<p>Log this browser in as <strong>{name}</strong> ({role}), for {hours:g} hours?</p>
<input type="hidden" name="code" value="{code}">
<button>Log in</button>
</form>"""
_OVER = "<p>{why}</p>\n"
_HOW = "<p>To log in, run <code>kheish login</code>, and open the link that it prints.</p>"


class Code(Body):
    """The form of the login page."""

    code: Annotated[str, Field(min_length=1, max_length=200)]
    """The code at the end of the link."""


class LoginLink(Answer):
    """A link that logs one browser in, once."""

    path: str
    """The link, without the daemon's address in front."""
    expires_at: str


class WhoAmI(Answer):
    """The caller, and the kind of its authentication."""

    name: str
    """The name to which changes are attributed."""
    role: str
    person: str | None
    sessions: list[str]
    projects: list[str]
    mcp_approvals: Literal["off", "tool"]
    """`tool`: clients of the daemon's MCP server may answer approvals and questions by a tool."""
    login_id: str | None
    """None with a token."""
    expires_at: str | None
    """The latest end of the login; None with a token."""
    csrf: str | None
    """The value of the header X-Kheish-CSRF that a logged-in page sends with each change; None with a token."""


class Login:
    """The resource of `/login`, `/v1/auth/login` and `/v1/auth/login-links`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._saving = asyncio.Lock()

    async def login_page(self, req: Request, resp: Response) -> None:
        """Answer with the page of a link. Raises Unauthorized if the link is not valid any more."""
        code = req.context.query.get("code")
        body = _HOW
        if code is not None:
            try:
                offered = self._offered(req, code)
            except Unauthorized as error:
                return _show_over(req, resp, error)
            hours = logins.LOGIN_SECONDS / 3600
            body = _FORM.format(name=escape(offered.name), role=escape(offered.role), hours=hours, code=escape(code))
        return _show(resp, body)

    async def log_in(self, req: Request, resp: Response) -> None:
        """Log in (303). Raises Unauthorized for a code that is not valid any more, Forbidden for a foreign page."""
        if browsers.came_from_elsewhere(req):
            raise Forbidden("The request came from a page of another origin; open the link directly.")
        code = (await media.read_form(req, Code)).code
        try:
            self._offered(req, code)
        except Unauthorized as error:
            return _show_over(req, resp, error)
        state = self._services.state
        begun = logins.begin(state, self._services.logins, code)
        assert begun is not None, "the code was valid, and nothing was awaited since"
        _, cookie = begun
        await self._save()
        browsers.give(resp, req.context.host, cookie, is_secure=self._services.secure)
        resp.status = 303
        resp.set_headers(_HEADERS)
        resp.location = AFTER
        return None

    async def make_login_link(self, req: Request, resp: Response) -> None:
        """Make a login link for the caller (201).

        Raises Forbidden for a login, which could otherwise prolong itself forever.
        """
        if req.context.login is not None:
            raise Forbidden("A login cannot create links; use a token: kheish login")
        code, until = self._services.logins.link(req.context.digest)
        media.send(resp, {"path": f"/login?code={code}", "expires_at": ids.stamp(until)}, status=201)

    async def who_am_i(self, req: Request, resp: Response) -> None:
        """Answer with the caller's identity."""
        caller, login = req.context.caller, req.context.login
        cookie = browsers.cookie(req, req.context.host, is_secure=self._services.secure) if login else None
        media.send(
            resp,
            {
                "name": caller.name,
                "role": caller.role,
                "person": caller.person,
                "sessions": list(caller.sessions),
                "projects": list(caller.projects),
                "mcp_approvals": self._services.config().mcp.approvals,
                "login_id": login.login_id if login else None,
                "expires_at": login.expires_at if login else None,
                "csrf": browsers.csrf(cookie) if cookie else None,
            },
        )

    async def log_out(self, req: Request, resp: Response) -> None:
        """Log out (204): this browser, or with a token all browsers that it logged in."""
        own, known = req.context.login, self._services.logins
        for login in [own] if own is not None else known.of(req.context.digest):
            logins.end(self._services.state, known, login, by=req.context.principal)
        n = self._services.state.n
        await self._save()
        if own is not None:
            browsers.give(resp, req.context.host, "", is_secure=self._services.secure)
        resp.status = 204
        resp.set_header(media.EVENT, str(n))

    def _offered(self, req: Request, code: str) -> Principal:
        offered = self._services.logins.offered(code)
        if offered is None:
            self._services.refusals.failed(req, "the link is not valid")
            raise Unauthorized(_STALE)
        return offered

    async def _save(self) -> None:
        async with self._saving:  # the newest state is written last
            await asyncio.to_thread(logins.save, self._services.state.root, self._services.logins)
        await self._services.state.durable()


def _show(resp: Response, body: str) -> None:
    resp.content_type = "text/html; charset=utf-8"
    resp.set_headers(_HEADERS)
    resp.data = _HTML.format(body=body).encode()


def _show_over(req: Request, resp: Response, error: Unauthorized) -> None:
    """Answer a browser, which shows no JSON to its user, with a page; raise the error for others."""
    if not media.wants_page(req):
        raise error
    resp.status = error.status
    _show(resp, _OVER.format(why=escape(error.detail)) + _HOW)


OPERATIONS = bind(
    Login,
    get(
        "/login",
        Login.login_page,
        "Show the page where a link logs a browser in; it uses nothing up.",
        None,
        *PAGE,
        media="text/html",
        open=True,
        problems=(400, 401, 429),
    ),
    post(
        "/login",
        Login.log_in,
        "Log this browser in: set a cookie, and redirect.",
        Code,
        None,
        takes=media.FORM,
        good=(303,),
        open=True,
        problems=(400, 401, 413, 415, 429),
    ),
    post(
        "/v1/auth/login-links",
        Login.make_login_link,
        "Make a link that logs one browser in as the caller, once, within a minute.",
        None,
        LoginLink,
        good=(201,),
        tie="none",
    ),
    get(
        "/v1/auth/login",
        Login.who_am_i,
        "Get the caller's identity and, for a login, its CSRF token.",
        WhoAmI,
        tie="none",
    ),
    delete(
        "/v1/auth/login",
        Login.log_out,
        "Log this browser out; with a token, all browsers that it logged in.",
        tie="none",
    ),
)
