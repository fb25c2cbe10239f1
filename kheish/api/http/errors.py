"""The one translation of errors into answers: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import falcon
import orjson
from falcon.asgi import Request, Response

from kheish.auth import redaction
from kheish.errors import (
    Internal,
    KheishError,
    NotReady,
    PreconditionFailed,
    TooMany,
    Unauthorized,
    Unavailable,
)

MEDIA = "application/problem+json"
log = logging.getLogger(__name__)


def problem(error: KheishError) -> dict[str, Any]:
    """Return the problem document of an error."""
    return {
        "type": f"urn:kheish:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "domain": error.domain,
        "errors": [{"path": fault.path, "message": fault.message} for fault in error.errors],
        **error.extra,
    }


async def on_kheish_error(req: Request, resp: Response, error: KheishError, params: dict[str, Any]) -> None:
    """Answer with an error that was raised on purpose."""
    if error.status == 500:
        log.error("%s %s: %s", req.method, req.path, error.detail, exc_info=error)
    elif error.status == 502:  # a failure of another server; of 503 and 507 the daemon logs the cause once
        log.warning("%s %s: %s", req.method, req.path, " ".join(error.detail.split()))
    _answer(resp, error.status, problem(error))
    match error:
        case Unauthorized():
            resp.set_header("WWW-Authenticate", 'Bearer realm="kheish"')
        case PreconditionFailed() if error.extra.get("etag"):
            resp.set_header("ETag", f'"{error.extra["etag"]}"')
        case TooMany() | Unavailable():
            resp.set_header("Retry-After", str(error.extra.get("retry_after", 1)))


async def send_stopping(send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Answer, by ASGI, a request that could not be finished before the end of the daemon."""
    body = orjson.dumps(problem(Unavailable("The daemon is stopping; retry when it has started again.")))
    headers = [(b"content-type", MEDIA.encode()), (b"content-length", b"%d" % len(body)), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": Unavailable.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def on_http_error(req: Request, resp: Response, error: falcon.HTTPError, params: dict[str, Any]) -> None:
    """Answer with an error that Falcon raised: no such path, a method that the path does not have, a bad header."""
    status = int(str(error.status)[:3])
    phrase = HTTPStatus(status).phrase
    detail = error.description or f"{phrase}: {req.method} {req.path}."
    if status == 404:
        detail = f"There is nothing at {req.path}; /openapi.json lists the endpoints."
    elif status == 405:
        allowed = (error.headers or {}).get("Allow", "") if isinstance(error.headers, dict) else ""
        detail = f"{req.path} does not accept {req.method}{f', only {allowed}' if allowed else ''}."
    code = "invalid_request" if status == 400 else phrase.lower().replace(" ", "_")
    _answer(
        resp,
        status,
        {
            "type": f"urn:kheish:error:{code}",
            "title": phrase,
            "status": status,
            "detail": detail,
            "code": code,
            "domain": "request",
            "errors": [],
        },
    )
    if error.headers:
        resp.set_headers(error.headers)


async def on_index_error(req: Request, resp: Response, error: sqlite3.Error, params: dict[str, Any]) -> None:
    """Answer with NotReady: the index is a cache, and an unreadable one is being rebuilt."""
    log.warning("%s %s: the index cannot be read (%s)", req.method, req.path, error)
    await on_kheish_error(req, resp, NotReady(), params)


async def on_defect(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
    """Answer with 500 after an unexpected exception, and log it with its traceback."""
    log.error("%s %s failed", req.method, req.path, exc_info=error)
    _answer(resp, 500, problem(Internal("Internal error; the log of Kheish has the details. Please report it.")))


def _answer(resp: Response, status: int, document: dict[str, Any]) -> None:
    resp.status = status
    resp.content_type = MEDIA
    resp.stream = None
    resp.text = None
    resp.data = orjson.dumps(redaction.shown(document), default=str)  # known secrets: Authentication.process_response
