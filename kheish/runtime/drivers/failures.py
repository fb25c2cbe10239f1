"""What a provider's error means: one table for all drivers, from status, code and message to a ModelError."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from kheish.runtime.drivers.base import ErrorKind, ModelError

_TOO_LONG_CODES = frozenset(
    {"context_length_exceeded", "string_above_max_length", "exceed_context_size_error", "context_window_exceeded"}
)
# Servers that speak the protocol agree on the status of this error, and on nothing else.
_TOO_LONG = re.compile(
    r"maximum context length|context length (?:is|of|exceed)|context window|context size|maximum prompt length"
    r"|(?:prompt|input)(?: is| length)? (?:too long|exceeds)|too many (?:input )?tokens|reduce the length of the",
    re.IGNORECASE,
)
_LONGEST_MESSAGE = 1000


def from_status(
    status: int,
    message: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    credential: str | None = None,
) -> ModelError:
    """The error for an HTTP answer. `headers` need `retry-after` in lower case, or ignore case themselves."""
    wait = retry_after(headers) if headers is not None else None
    return ModelError(kind_of(status, code, message), plain(message, credential), status=status, retry_after=wait)


def kind_of(status: int, code: str | None, message: str) -> ErrorKind:
    """The kind that the loop decides by."""
    if code in _TOO_LONG_CODES:
        return "context_length"
    match status:
        case 401 | 403:
            return "auth"
        case 429:
            return "rate_limited"
        case 408:
            return "server"
        case 400 | 413 | 422 | 500 if _TOO_LONG.search(message):
            return "context_length"
    return "server" if status >= 500 else "bad_request"


def from_event(error: Any, credential: str | None = None) -> ModelError:
    """The error for an `error` object in the middle of a stream, where the HTTP status was 200."""
    fields = error if isinstance(error, Mapping) else {"message": str(error)}
    message = str(fields.get("message") or "the provider reported an error in the middle of its answer")
    code = fields.get("code") or fields.get("type")
    digits = str(fields.get("code") or fields.get("status") or "")
    if digits.isdigit() and 400 <= int(digits) < 600:
        return from_status(int(digits), message, code=str(code), credential=credential)
    if "rate_limit" in str(code):
        return ModelError("rate_limited", plain(message, credential))
    if str(code) in _TOO_LONG_CODES or _TOO_LONG.search(message):
        return ModelError("context_length", plain(message, credential))
    return ModelError("server", plain(message, credential))


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, from `retry-after-ms` or either form of `retry-after`; None where there is no sense in it."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        until = parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return max(0.0, until - (time.time() if now is None else now))


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def usable_credential(credential: str | None) -> str | None:
    """The credential without the newline that files and shells add; None for none. Raises ModelError."""
    stripped = (credential or "").strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise ModelError("auth", "the credential holds characters that cannot stand in an HTTP header")
    return stripped or None


def plain(message: str, credential: str | None) -> str:
    """The message without the credential (providers quote the keys that they refuse), and not endless."""
    if credential and credential.strip():
        message = message.replace(credential.strip(), "[credential]")
    return message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"
