"""The base of all errors, and those that belong to no part of the product: a class for each kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kheish.texts import cut_middle

#: characters of the message about one place: it may quote a value of any length
MOST_ABOUT = 600


@dataclass(frozen=True, slots=True)
class Fault:
    """An invalid place: `path` is a JSON pointer into the request (or a file's key path)."""

    path: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", cut_middle(self.path, MOST_ABOUT))
        object.__setattr__(self, "message", cut_middle(self.message, MOST_ABOUT))


class KheishError(Exception):
    """The base class of all errors; `detail` is a sentence that describes the error and its remedy."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    domain: ClassVar[str] = "daemon"
    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, errors: Sequence[Fault] = (), **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        #: further members of the problem document (RFC 9457 extension members)
        self.extra = extra


class Invalid(KheishError):
    status, code, domain, exit_code, title = 400, "invalid_request", "request", 2, "Invalid request"


class InvalidCursor(Invalid):
    code, title = "invalid_cursor", "Invalid cursor"


class IdempotencyMismatch(Invalid):
    code, title = "idempotency_key_mismatch", "Two different idempotency keys"


class UnsupportedParameter(Invalid):
    """A request in another protocol asks for what Kheish does not do. `param` names the parameter."""

    code, title = "unsupported_parameter", "Unsupported parameter"

    def __init__(self, detail: str, *, param: str | None = None, **extra: Any) -> None:
        super().__init__(detail, param=param, **extra)


class Unauthorized(KheishError):
    status, code, domain, exit_code, title = 401, "unauthorized", "auth", 7, "A valid token is required"


class Forbidden(KheishError):
    status, code, domain, exit_code, title = 403, "forbidden", "auth", 7, "Not allowed"


class NotFound(KheishError):
    status, code, domain, exit_code, title = 404, "not_found", "request", 3, "Not found"


class Conflict(KheishError):
    status, code, domain, exit_code, title = 409, "conflict", "request", 4, "Conflict"


class IdempotencyConflict(Conflict):
    code, title = "idempotency_conflict", "The idempotency key was used for another request"


class PreconditionFailed(KheishError):
    status, code, domain, exit_code, title = 412, "precondition_failed", "definitions", 4, "The resource has changed"


class TooLarge(KheishError):
    status, code, domain, exit_code, title = 413, "too_large", "request", 2, "Too large"

    @classmethod
    def of_body(cls, length: int, limit: int) -> TooLarge:
        """Return the error for a body with too many bytes."""
        return cls(f"The body has {length} bytes; at most {limit} are accepted.")


class UnsupportedMedia(KheishError):
    status, code, domain, exit_code, title = 415, "unsupported_media_type", "request", 2, "Unsupported media type"


class Misdirected(KheishError):
    status, code, domain, exit_code, title = 421, "unknown_host", "auth", 7, "Unknown host"


class TooMany(KheishError):
    status, code, domain, exit_code, title = 429, "too_many_requests", "request", 1, "Too many requests"


class Unavailable(KheishError):
    status, code, domain, exit_code, title = 503, "unavailable", "daemon", 6, "Temporarily unavailable"


class NotReady(Unavailable):
    """Nothing can be read for a moment: the daemon starts, or makes its index again. `retry_after`, in seconds, says so
    in the problem document: the same request succeeds without anyone's help."""

    def __init__(self, detail: str = "The index is being rebuilt; retry in a moment.") -> None:
        super().__init__(detail, retry_after=1)


class InsufficientStorage(KheishError):
    status, code, domain, exit_code, title = 507, "insufficient_storage", "state", 1, "Too little disk space"


class Internal(KheishError):
    """A defect of Kheish itself."""


class Unreachable(KheishError):
    # only the client raises it
    status, code, domain, exit_code, title = 0, "unreachable", "client", 6, "The daemon is not reachable"
