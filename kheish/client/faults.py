"""Conversions between problem documents (RFC 9457) and the error classes that they stand for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kheish import errors
from kheish.errors import Fault, KheishError

_BY_STATUS: dict[int, type[KheishError]] = {
    400: errors.Invalid,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.Invalid,
    409: errors.Conflict,
    412: errors.PreconditionFailed,
    413: errors.TooLarge,
    415: errors.UnsupportedMedia,
    421: errors.Misdirected,
    422: errors.Invalid,
    429: errors.TooMany,
    503: errors.Unavailable,
    507: errors.InsufficientStorage,
}
_KNOWN = ("type", "title", "status", "detail", "code", "domain", "errors")


def from_reply(status: int, body: bytes) -> KheishError:
    """Return the error for an HTTP response of `status`; `extra["problem"]` is the document as received."""
    problem = _document(status, body)
    error_class = _by_code().get(str(problem.get("code"))) or _BY_STATUS.get(status, KheishError)
    faults = [
        Fault(str(one.get("path", "")), str(one.get("message", "")))
        for one in problem.get("errors") or []
        if isinstance(one, dict)
    ]
    more = {key: value for key, value in problem.items() if key not in _KNOWN}
    return error_class(str(problem.get("detail") or error_class.title), errors=faults, **(more | {"problem": problem}))


def as_problem(error: KheishError) -> dict[str, Any]:
    """Return the problem document of an error: the daemon's own, if it sent one."""
    sent = error.extra.get("problem")
    if isinstance(sent, dict):
        return sent
    return {
        "type": f"urn:kheish:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "domain": error.domain,
        "errors": [{"path": fault.path, "message": fault.message} for fault in error.errors],
    }


def _document(status: int, body: bytes) -> dict[str, Any]:
    """Return the problem document in `body`; a substitute if the response is not from a daemon."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and "code" in document:
        return document
    excerpt = body[:200].decode(errors="replace").strip()
    return {
        "type": "about:blank",
        "title": f"HTTP {status}",
        "status": status,
        "detail": f"The response was HTTP {status} without a problem document"
        + (f": {excerpt}" if excerpt else "")
        + ". Is it a Kheish daemon?",
        "code": f"http_{status}",
        "domain": "client",
        "errors": [],
    }


def _by_code() -> dict[str, type[KheishError]]:
    # A class without a code of its own is only a more specific name of its parent.
    return {kind.code: kind for kind in _tree(KheishError) if "code" in vars(kind)}


def _tree(kind: type[KheishError]) -> Iterator[type[KheishError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)
