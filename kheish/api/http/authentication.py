"""Authentication of each request (Host, Origin, token and role), and validation of its query parameters and guards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from falcon.asgi import Request, Response

from kheish.api.http import browsers, console, filtering, media, paging
from kheish.api.http.openapi import DOCS
from kheish.api.http.operation import GUARDED, Operation
from kheish.api.http.throttle import Rates
from kheish.api.services import Services
from kheish.auth import digests, roles
from kheish.auth.tokens import Principal
from kheish.authoring import preconditions
from kheish.config import Config, split_bind
from kheish.errors import Forbidden, Invalid, Misdirected, NotReady, StateRewound, Unauthorized
from kheish.state import encoding

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
#: where clients look for descriptions of logins, before they have a token: 404 says that there is none, and 401 would
#: look like a broken one
WELL_KNOWN = "/.well-known/"
_SOURCE = "/v1/sources/{id}/"
#: below these, nothing needs a token
_OPEN = (WELL_KNOWN, console.FILES)
#: characters of an id in a path (a subject is the longest)
MOST_ID = 300
#: a name (with an optional dot at its end) or an address, and a port
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:@/?#\[\]]+?)\.?(?::[0-9]{0,5})?")


class Authentication:
    """Middleware that awaits nothing, so that it costs microseconds."""

    def __init__(self, services: Services, operations: Sequence[Operation]) -> None:
        self._services = services
        self._known = {(one.method, one.path): one.query for one in operations}
        #: writes that compare `If-Match` themselves, in one step with the change
        self._comparing = {(one.method, one.path) for one in operations if 412 in one.problems}
        self._foreign = {one.path for one in operations if one.foreign}
        self._ties = {one.path: one.tie for one in operations if one.tie is not None}
        #: answered without a token: probes for machines without a token, a static page without data, and the page where
        #: a link becomes a login
        self._open = {DOCS, console.PAGE, *(one.path for one in operations if one.open)}
        #: the same where the path names a thing: outside requests, which their connector verifies
        self._open_below = tuple(path.partition("{")[0] for path in self._open if path.endswith("}"))
        #: answered while the daemon starts, before the state is loaded
        self._early = {DOCS, console.PAGE, *(one.path for one in operations if one.early)}
        #: decisions that are permitted after the branch was moved back
        self._deciding = {one.path for one in operations if one.decides}
        self._rates = Rates()
        self._refusals = services.refusals
        self._hosts: tuple[Config, frozenset[str]] | None = None

    async def process_request(self, req: Request, resp: Response) -> None:
        """Authenticate the caller.

        Raises Misdirected, Forbidden, Unauthorized, TooMany; NotReady while the daemon starts; StateRewound.
        """
        req.context.query = paging.NONE
        host = req.context.host = self._check_host(req)
        _check_origin(req, host)
        req.context.caller = req.context.login = None
        if not self._is_open(req.path):
            req.context.caller = self._principal(req, host)
            req.context.principal = req.context.caller.name
            self._rates.count(req.context.principal, self._services.config().api.requests_per_second)
        # A stopping daemon still answers reads; new work would only delay the end.
        asks = self._services.closing.begun and req.method in ("GET", "HEAD", "OPTIONS")
        is_early = req.path in self._early or req.path.startswith(console.FILES)
        if not asks and not is_early and (why := self._services.ready()) is not None:
            raise NotReady(why)
        if req.method not in ("GET", "HEAD", "OPTIONS") and req.path not in self._deciding:
            rewound = self._services.upkeep.rewound()
            if rewound is not None:
                raise StateRewound(rewound)

    def _is_open(self, path: str) -> bool:
        return path in self._open or path.startswith((*_OPEN, *self._open_below))

    async def process_resource(self, req: Request, resp: Response, resource: object, params: dict[str, Any]) -> None:
        """Check the role, and parse the query by the endpoint's parameters.

        Raises Forbidden, Invalid, NotFound; PreconditionFailed for a guard that the endpoint cannot compare.
        """
        caller: Principal | None = req.context.caller
        for name, given in params.items():
            if len(given) > MOST_ID:
                raise Invalid(f"The {name} in the path has {len(given)} characters; no id has more than {MOST_ID}.")
        if caller is not None:
            self.check_role(req, _path_template(req, params))
        known = self._known.get((req.method, req.uri_template or ""))
        if req.query_string and known is not None:  # None: the method is not allowed, whatever the query
            given = req.params
            if req.uri_template in self._foreign:
                names = {param.name for param in known}
                given = {name: value for name, value in given.items() if name in names}
            req.context.query = paging.parse(given, known)
        if known is not None and req.method in GUARDED and (req.method, req.uri_template) not in self._comparing:
            preconditions.check(req.path, media.sent_etag(req), preconditions.ANY)
        if caller is not None and caller.limits:
            await filtering.check(self._services.state, caller, req, params, self._ties.get(req.uri_template or ""))

    def check_role(self, req: Request, template: str) -> None:
        """Raise Forbidden if the caller's role does not permit the method on the path."""
        caller: Principal = req.context.caller
        if (why := roles.refusal(caller, req.method, template)) is not None:
            self._refusals.audit(req, f"{caller.name} ({caller.role})")
            raise Forbidden(why)

    async def process_response(self, req: Request, resp: Response, resource: object, succeeded: bool) -> None:
        """Count the response, and redact known secrets in errors, which may quote the request."""
        if resp.status_code >= 400 and isinstance(resp.data, bytes):
            resp.data = encoding.scrubbed(resp.data, self._services.state.scrub)
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Cross-Origin-Resource-Policy", "same-origin")
        if getattr(req.context, "login", None) is not None:
            resp.set_header("Cache-Control", "no-store")
        self._services.answered[req.method, resp.status_code] += 1

    def _check_host(self, req: Request) -> str:
        hosts = [value for name, value in req.scope["headers"] if name == b"host"]
        host = (
            hosts[0].decode("latin-1") if len(hosts) == 1 else ""
        )  # with two values, a proxy may have meant the other
        name = _name(host)
        if not host or (name not in self._allowed() and name != _local_address(req)):
            raise Misdirected(f"The host {name!r} is not allowed; to allow it, add it to allowed_hosts in kheish.yaml.")
        return host.lower()

    def _allowed(self) -> frozenset[str]:
        config = self._services.config()
        if self._hosts is None or self._hosts[0] is not config:
            bound = split_bind(config.bind)[0]
            own = f"[{bound}]" if ":" in bound else bound
            more = {name.lower() if ":" not in name or "[" in name else f"[{name}]" for name in config.allowed_hosts}
            # 0.0.0.0 is removed from the allowed hosts
            self._hosts = (config, LOOPBACK | more | ({own.lower()} - {"0.0.0.0", "[::]"}))  # nosec B104
        return self._hosts[1]

    def _principal(self, req: Request, host: str) -> Principal:
        header = req.get_header("Authorization")
        if header is None and (cookie := browsers.cookie(req, host, is_secure=self._services.secure)) is not None:
            return self._by_cookie(req, host, cookie)
        scheme, _, token = (header or "").partition(" ")
        req.context.digest = digests.of(token.strip())
        principal = self._services.tokens.holder(req.context.digest) if scheme.lower() == "bearer" else None
        if principal is None:
            self._refusals.failed(req, "no valid token")
            raise Unauthorized(
                "This needs the header Authorization: Bearer TOKEN; the local token is in .kheish/token of the state "
                "root."
            )
        return principal

    def _by_cookie(self, req: Request, host: str, cookie: str) -> Principal:
        login = self._services.logins.find(cookie)
        principal = self._services.logins.holder(login) if login is not None else None
        if login is None or principal is None:
            self._refusals.failed(req, "no valid login")
            raise Unauthorized("The login has ended; request a new link: kheish login")
        if (why := browsers.foreign(req, host, cookie, is_secure=self._services.secure)) is not None:
            self._refusals.failed(req, f"{principal.name} ({login.login_id}): {why}")
            raise Forbidden(why)
        req.context.login, req.context.digest = login, login.token
        return principal


def _path_template(req: Request, params: Mapping[str, Any]) -> str:
    """Return the path template, with the names that roles refer to."""
    template = req.uri_template or req.path
    if template.startswith(_SOURCE):  # of a Definition, whose id has the same name in all paths
        return template.replace("{id}", str(params.get("id")))
    return template.replace("{connector}", str(params.get("connector"))).replace("{source}", str(params.get("source")))


def _local_address(req: Request) -> str:
    """Return the local address of the connection.

    As a number, it cannot be forged by DNS rebinding (`--bind`, several network cards).
    """
    server = req.scope.get("server")
    address = str(server[0]) if server else ""
    return f"[{address}]" if ":" in address else address


@lru_cache(maxsize=64)
def _name(host: str) -> str:
    """Return the name in a Host header without its port, or the whole value if it is no host."""
    match = _HOST.fullmatch(host.strip().lower())
    return match[1] if match is not None else host


def _check_origin(req: Request, host: str) -> None:
    origin = req.get_header("Origin")
    if origin is not None and origin.lower().partition("://")[2] != host:
        raise Forbidden(f"Requests of pages from {origin} are not accepted.")
