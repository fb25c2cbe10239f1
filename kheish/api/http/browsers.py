"""What a browser does by itself, and must not do for a foreign page: which cookie is ours, and what it is taken for.

A browser sends a cookie with whatever any page makes it ask for. So a request that shows who it is by cookie alone must
come from a page of ours, and whatever changes something must say a word that only such a page can have read. Ports are
no bounds for cookies (and a page of another port is the "same site"), so neither the cookie's name nor SameSite is
trusted to do that.
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
#: what browsers say of where a request came from: a page of ours, or a person (an address that was typed, a bookmark)
_OURS = frozenset({"same-origin", "none"})


def name(host: str, *, is_secure: bool) -> str:
    """The cookie's name. It has the port, for two daemons of one machine; with HTTPS, browsers see to it that nobody
    but this host can set it (`__Host-`)."""
    port = host.rpartition(":")[2]
    return f"{'__Host-' if is_secure else ''}kheish{f'-{port}' if port.isdecimal() else ''}"


def cookie(req: Request, host: str, *, is_secure: bool) -> str | None:
    """The text of our cookie; one that is there twice is nobody's, for somebody else has set one of them."""
    found = req.get_cookie_values(name(host, is_secure=is_secure))
    if not found:
        return None
    return found[0] if len(found) == 1 else ""


def give(resp: Response, host: str, text: str, *, is_secure: bool) -> None:
    """Have the browser keep the cookie; an empty text has it forget it."""
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
    """What a page of ours sends back with each change. It tells nothing of the cookie, and lasts as long."""
    return hmac.digest(text.encode(errors="surrogateescape"), b"kheish-csrf-1", sha256).hex()


def came_from_elsewhere(req: Request) -> bool:
    """Whether the browser says that a page which is not ours made it ask."""
    return req.get_header("Sec-Fetch-Site") not in (None, *_OURS)


def foreign(req: Request, host: str, text: str, *, is_secure: bool) -> str | None:
    """Why a request with the cookie `text` is not taken for its person's, in one sentence; None where it is."""
    origin = req.get_header("Origin")
    ours = f"{'https' if is_secure else 'http'}://{host}"
    if came_from_elsewhere(req) or (origin is not None and origin.lower() != ours):
        return "A page of another origin sent this; a login counts for pages of Kheish only."
    if req.method in SAFE:
        return None
    if origin is None:
        return "The header Origin is missing; with a login, only a browser's page changes something."
    said = req.get_header(CSRF_HEADER) or ""
    if not hmac.compare_digest(said.encode(errors="surrogateescape"), csrf(text).encode()):
        return f"The header {CSRF_HEADER} is missing or wrong; GET /v1/auth/login says it."
    return None
