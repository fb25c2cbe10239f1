"""Admission of a request in another protocol: Host, Origin, token, role and rate, as of any request of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from falcon.asgi import Request, Response

from kheish.api.foreign.inside import App, Inside
from kheish.api.http import errors, media
from kheish.api.http.authentication import Authentication
from kheish.api.services import Services
from kheish.errors import Invalid, KheishError, TooLarge, Unauthorized, Unavailable
from kheish.store import parsing

#: bytes of a body that is checked on the event loop
_SMALL = 16 * 1024


class Entrance:
    """The admission of requests at one path; `app` answers the operations behind it."""

    def __init__(self, services: Services, authentication: Authentication, app: App, path: str) -> None:
        self.services = services
        self._authentication = authentication
        self._app = app
        self._path = path

    async def admit(self, scope: Any, receive: Any) -> tuple[Request, Inside]:
        """Return the request and the caller's access. Raises KheishError, falcon.HTTPError."""
        # Whitespace around a value is no part of it (RFC 9110, 5.5); the parser leaves what follows.
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        req = Request(scope, receive)
        if req.get_header("Authorization") is None:  # a browser's login is for Kheish's own pages
            self.services.refusals.failed(req, "no token")
            raise Unauthorized("This needs the header Authorization: Bearer TOKEN.")
        await self._authentication.process_request(req, Response())
        if self.services.closing.begun:
            raise Unavailable("The daemon is stopping; retry when it has started again.")
        self._authentication.check_role(req, self._path)
        return req, Inside(self._app, scope, req.context.digest)

    async def refuse(self, scope: Any, receive: Any, send: Any, error: Any) -> None:
        """Answer with an error, as the API does."""
        req, resp = Request(scope, receive), Response()
        if isinstance(error, KheishError):
            await errors.on_kheish_error(req, resp, error, {})
        else:
            await errors.on_http_error(req, resp, error, {})
        await self._authentication.process_response(req, resp, None, False)
        body = resp.data or b""
        headers = {"content-type": errors.MEDIA, "content-length": str(len(body)), **resp.headers}
        await send({"type": "http.response.start", "status": resp.status_code, "headers": wire(headers)})
        await send({"type": "http.response.body", "body": body})

    def counted(self, scope: Any, send: Any) -> Callable[[Any], Any]:
        """Return `send`, which counts the answer."""

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.services.answered[scope["method"], message["status"]] += 1
            await send(message)

        return counted


def wire(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them."""
    return [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]


async def read_body(req: Request, most: int) -> bytes:
    """Return the body, which is JSON without surprises. Raises TooLarge, Invalid."""
    length = req.content_length
    if length is not None and length > most:
        raise TooLarge.of_body(length, most)
    raw = bytes(await req.stream.read(most + 1))
    if len(raw) > most:
        raise TooLarge(f"The body has more than {most} bytes.")
    try:
        is_plain = media.plain_json(raw) if len(raw) < _SMALL else await parsing.run(media.plain_json, raw)
    except (ValueError, RecursionError) as error:
        raise Invalid("The body is no JSON, or an object has a member twice.") from error
    if not is_plain:
        raise Invalid(f"The body is nested deeper than {media.DEPTH} levels.")
    return raw
