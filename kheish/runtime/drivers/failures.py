"""Translation of a provider's errors, the same for all drivers: from status, headers and body to a ModelError."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from kheish.runtime.drivers import sayings
from kheish.runtime.drivers.base import ErrorKind, ModelError, Reply
from kheish.texts import is_number

_LONGEST_MESSAGE = 1000
_MATCHED = 4000  # characters of a message that patterns search
_NESTED = 8  # errors within errors: a router's, its provider's, …
_CODES = ("code", "type", "status", "reason", "error_code", "internal_code")
_STATUSES = ("status", "status_code", "code", "error_code", "http_code")
_WORDS = ("message", "msg", "error_msg", "error_message", "status_msg", "detail", "title")
_OTHER = "the provider reported an error without a message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The content of an error body, whatever its format."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None
    field: str | None = None
    window: int | None = None
    prompt_tokens: int | None = None
    retry_after: float | None = None


def read(document: Any, depth: int = 0) -> Said:
    """Parse an error's body: OpenAI's object, Gemini's list, FastAPI's `detail`, a text, JSON within a text."""
    if depth >= _NESTED:
        return Said(message=str(document)[:_MATCHED])
    match document:
        case list() | tuple():
            return read(next((one for one in document if one), ""), depth + 1)
        case Mapping():
            return _object(document, depth)
        case str():
            text = document.strip()
            return _text(text, depth) if text[:1] in ("{", "[") else Said(message=text[:_MATCHED])
    return Said() if document is None else Said(message=str(document)[:_MATCHED])


def _text(text: str, depth: int) -> Said:
    try:
        return read(orjson.loads(text), depth + 1)
    except orjson.JSONDecodeError:
        return Said(message=text[:_MATCHED])


def _object(fields: Mapping[str, Any], depth: int) -> Said:
    inner = Said()
    for key in ("error", "errors", "base_resp", "detail"):
        if fields.get(key) and not (key == "detail" and isinstance(fields[key], str)):
            inner = read(fields[key], depth + 1)
            break
    words: Any = next((fields[key] for key in _WORDS if isinstance(fields.get(key), (str, Mapping, list))), None)
    if words and not inner.message:
        inner = _merge(inner, read(words, depth + 1))
    metadata = fields.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("raw"):  # OpenRouter: the error of its own provider
        raw = read(metadata["raw"], depth + 1)
        inner = _merge(raw, inner, message=": ".join(part for part in (inner.message, raw.message) if part))
    codes = {str(fields[key]).lower() for key in _CODES if isinstance(fields.get(key), (str, int))}
    own = Said(
        codes=frozenset(code for code in codes if len(code) <= 100),
        status=next((found for key in _STATUSES if (found := _status(fields.get(key)))), None),
        field=_field_of(fields),
        window=_count(fields.get("n_ctx")),  # llama.cpp
        prompt_tokens=_count(fields.get("n_prompt_tokens")),
        retry_after=_delay_of(fields),
    )
    return _merge(inner, own)


def _merge(first: Said, second: Said, message: str | None = None) -> Said:
    """Return both merged; the first has precedence."""
    return Said(
        message=(first.message or second.message) if message is None else message[:_MATCHED],
        codes=first.codes | second.codes,
        status=first.status or second.status,
        field=first.field or second.field,
        window=first.window or second.window,
        prompt_tokens=first.prompt_tokens or second.prompt_tokens,
        retry_after=second.retry_after if first.retry_after is None else first.retry_after,
    )


def _status(value: Any) -> int | None:
    digits = str(value) if isinstance(value, (str, int)) else ""
    return int(digits) if len(digits) == 3 and is_number(digits) and 400 <= int(digits) < 600 else None


def _field_of(fields: Mapping[str, Any]) -> str | None:
    place = fields.get("loc")  # pydantic, in FastAPI's `detail`
    if isinstance(place, (list, tuple)) and place and place[0] == "body" and "forbidden" in str(fields.get("type")):
        return _path(".".join(str(part) for part in place[1:]))
    named = fields.get("param")
    refused = any(word in str(fields.get("code")) for word in ("unknown", "unsupported", "unrecognized"))
    return _path(named) if isinstance(named, str) and named and refused else None


def _path(text: str) -> str:
    """Return a field's path in one spelling: `messages.3.name` and `messages[3].name` both become the latter."""
    return re.sub(r"\.([0-9]{1,6})(?=\.|$)", r"[\1]", text[:200])


def _delay_of(fields: Mapping[str, Any]) -> float | None:
    """Return the delay in a body: Google's RetryInfo, Hugging Face's estimate, OpenRouter's forwarded header."""
    details = fields.get("details")
    for one in details if isinstance(details, list) else ():
        if isinstance(one, Mapping) and (delay := _duration(one.get("retryDelay"))) is not None:
            return delay
    for key in ("retryDelay", "retry_after", "retry_after_seconds", "estimated_time"):
        if (delay := _duration(fields.get(key))) is not None:
            return delay
    headers = (fields.get("metadata") or {}).get("headers") if isinstance(fields.get("metadata"), Mapping) else None
    reset = _number(headers.get("X-RateLimit-Reset")) if isinstance(headers, Mapping) else None
    return max(0.0, reset / 1000 - time.time()) if reset and reset > 1e12 else None


def _duration(value: Any) -> float | None:
    if isinstance(value, Mapping):
        value = value.get("seconds")
    if isinstance(value, str) and value.endswith("s"):
        value = value[:-1]
    return _number(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def from_body(
    status: int | None,
    body: Any,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    credential: str | None = None,
    reply: Reply | None = None,
) -> ModelError:
    """Return the error for an HTTP answer, or without a status for an error in the middle of a stream.

    `body` is the parsed JSON, or the text. `headers` ignore case, or have lower case.
    """
    said = read(body)
    if code:
        said = replace(said, codes=said.codes | {code.lower()})
    status = status or said.status
    wait = retry_after(headers) if headers is not None else None
    if wait is None:
        wait = said.retry_after if said.retry_after is not None else _delay_in(said.message)
    kind, said = _judge(status, said)
    return ModelError(
        kind,
        plain(said.message or _OTHER, credential),
        status=status,
        retry_after=wait if kind in ("rate_limited", "server") else None,
        window=said.window if kind in ("context_length", "bad_request") else None,
        prompt_tokens=said.prompt_tokens if kind in ("context_length", "bad_request") else None,
        field=said.field if kind == "bad_request" else None,
        reply=reply,
    )


def _judge(status: int | None, said: Said) -> tuple[ErrorKind, Said]:
    """Return the kind that the loop decides by, and the fields completed from the message."""
    text = said.message[:_MATCHED]
    coded = {sayings.CODES[code] for code in said.codes if code in sayings.CODES}
    is_long = "context_length" in coded or status == 413
    if is_long or status in (None, 400, 404, 422, 429, 500, 503):
        excess = overflow(text)
        # A limit of tokens per minute has its own status; only a request that is larger than the limit is too long.
        if excess is not None and (
            status != 429 or (excess.window is not None and "request too large" in text.lower())
        ):
            is_long, said = True, _merge(said, excess)
    if is_long:
        return _too_long(said, text)
    worded: set[ErrorKind] = {kind for kind, row in sayings.WORDS if row.words.search(text)}
    facts = coded | worded
    return _kind_of(status, said, facts), replace(said, field=said.field or _refused_field(text))


def _kind_of(status: int | None, said: Said, told: set[ErrorKind]) -> ErrorKind:
    """Return the kind by the codes with precedence over the status, by the status, or else by the message."""
    for kind in _BEFORE_STATUS:
        if kind in told:
            return kind
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None and status not in (400, 422):
        return "server" if status >= 500 else "bad_request"
    for kind in _BEHIND_STATUS:
        if kind in told:
            return kind
    return "bad_request" if status is not None or "invalid_request_error" in said.codes else "server"


_BEFORE_STATUS: tuple[ErrorKind, ...] = ("quota", "declined", "auth", "bad_request")
_BEHIND_STATUS: tuple[ErrorKind, ...] = ("rate_limited", "server")
_BY_STATUS: dict[int | None, ErrorKind] = {
    401: "auth",
    402: "quota",
    403: "auth",
    408: "server",
    429: "rate_limited",
}


def _too_long(said: Said, text: str) -> tuple[ErrorKind, Said]:
    """Classify the failure: too long a prompt, or too long a requested answer, which no shorter prompt would fix."""
    window, prompt = said.window, said.prompt_tokens
    if window and prompt and prompt < window / 2 and sayings.TOO_LONG_AN_ANSWER.search(text):
        return "bad_request", replace(said, field="max_tokens")
    return "context_length", said


def overflow(text: str) -> Said | None:
    """Return the facts about a too long prompt in `text`; None if it states another failure."""
    for row in sayings.OVERFLOWS:
        if match := row.words.search(text):
            groups = match.groupdict()
            sizes = (one.search(text) for one in sayings.PROMPT_SIZES)
            prompt = groups.get("prompt") or next((size[1] for size in sizes if size), None)
            return Said(message=text, window=_count(groups.get("window")), prompt_tokens=_count(prompt))
    return None


def _refused_field(text: str) -> str | None:
    """Return the request field that `text` names as not accepted."""
    for row in sayings.FIELDS:
        if match := row.words.search(text):
            place = match.groupdict().get("at")
            return _path(f"{place}.{match['field']}" if place else match["field"])
    return None


def _delay_in(text: str) -> float | None:
    match = sayings.DELAY.search(text[:_MATCHED])
    if match is None:
        return None
    parts = sayings.DELAY_PART.findall(match["delay"])
    return sum(float(number) * sayings.SECONDS[unit.lower()] for number, unit in parts) if parts else None


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds to wait, from `retry-after-ms` or either form of `retry-after`; None if it is invalid."""
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
        until = parsedate_to_datetime(value[:100]).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, until - (time.time() if now is None else now))


def _number(value: Any) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _count(value: Any) -> int | None:
    """Return a positive number of tokens, with or without commas."""
    number = _number(value.replace(",", "").replace("_", "") if isinstance(value, str) else value)
    return int(number) if number and 0 < number < 1e12 else None


def within(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the outermost first: SDKs wrap the exceptions that their hooks raise."""
    seen: set[int] = set()
    remaining: list[BaseException | None] = [error]
    while remaining:
        one = remaining.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            remaining += [getattr(one, "original_exception", None), one.__cause__, one.__context__]


def usable_credential(credential: str | None) -> str | None:
    """Return the credential without the newline that files and shells add, or None. Raises ModelError."""
    stripped = (credential or "").strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise ModelError("auth", "the credential contains characters that are not allowed in an HTTP header")
    return stripped or None


def plain(message: str, credential: str | None) -> str:
    """Return the message, bounded and without the credential (providers quote the keys that they refuse)."""
    if credential and credential.strip():
        message = message.replace(credential.strip(), "[credential]")
    return message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"
