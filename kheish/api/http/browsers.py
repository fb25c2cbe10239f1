"""Protection against cross-site requests: the login cookie, and the checks of requests that carry it.

A browser attaches a cookie to requests of any page. So a request that is authenticated by cookie alone must come from a
page of ours, and a change must carry a token that only such a page can have read. Cookies are not isolated by port (and
a page of another port is the "same site"), so neither the cookie's name nor SameSite is trusted for that.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from hashlib import sha256

from falcon.asgi import Request, Response

from kheish.auth.logins import LOGIN_SECONDS

CSRF_HEADER = "X-Kheish-CSRF"
_PAST = datetime.fromtimestamp(0, UTC)
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: values of Sec-Fetch-Site that are trusted: a page of ours, or a person (a typed address, a bookmark)
_OURS = frozenset({"same-origin", "none"})


def name(host: str, *, is_secure: bool) -> str:
    """Return the cookie's name. It contains the port, to separate two daemons of one machine. With HTTPS, browsers
    ensure that only this host can set it (`__Host-`).
    """
    port = host.rpartition(":")[2]
    return f"{'__Host-' if is_secure else ''}kheish{f'-{port}' if port.isascii() and port.isdecimal() else ''}"


def cookie(req: Request, host: str, *, is_secure: bool) -> str | None:
    """Return the text of our cookie, or None if it occurs twice, because another party has set one of them."""
    values = req.get_cookie_values(name(host, is_secure=is_secure))
    if not values:
        return None
    return values[0] if len(values) == 1 else ""


def give(resp: Response, host: str, text: str, *, is_secure: bool) -> None:
    """Set the cookie; an empty text deletes it."""
    resp.set_cookie(
        name(host, is_secure=is_secure),
        text,
        max_age=int(LOGIN_SECONDS) if text else None,
        expires=None if text else _PAST,
        path="/",
        secure=is_secure,
        http_only=True,
        same_site="Strict",
    )


def csrf(text: str) -> str:
    """Return the CSRF token that our pages send with each change.

    It reveals nothing of the cookie, and has the same lifetime.
    """
    return hmac.digest(text.encode(errors="surrogateescape"), b"kheish-csrf-1", sha256).hex()


def came_from_elsewhere(req: Request) -> bool:
    """Return whether the browser reports that the request comes from a page of another origin."""
    return req.get_header("Sec-Fetch-Site") not in (None, *_OURS)


def foreign(req: Request, host: str, text: str, *, is_secure: bool) -> str | None:
    """Return why a request with the cookie `text` is not accepted as its user's, in one sentence; None if it is."""
    origin = req.get_header("Origin")
    ours = f"{'https' if is_secure else 'http'}://{host}"
    if came_from_elsewhere(req) or (origin is not None and origin.lower() != ours):
        return "The request came from a page of another origin; a login is valid for Kheish's own pages only."
    if req.method in SAFE:
        return None
    if origin is None:
        return "The header Origin is missing; with a login, requests that change something need it."
    token = req.get_header(CSRF_HEADER) or ""
    if not hmac.compare_digest(token.encode(errors="surrogateescape"), csrf(text).encode()):
        return f"The header {CSRF_HEADER} is missing or wrong; GET /v1/auth/login returns it."
    return None
