"""Request and response bodies: strict JSON into models, values as JSON, and the accepted media types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from falcon.asgi import Request, Response
from pydantic import BaseModel, ValidationError

from kheish.domain import keys
from kheish.domain.events import Idempotency
from kheish.errors import Fault, IdempotencyMismatch, Invalid, TooLarge, UnsupportedMedia
from kheish.store import parsing
from kheish.store.edits import definitions, problems

M = TypeVar("M", bound=BaseModel)

JSON = "application/json"
YAML = "application/yaml"
FORM = "application/x-www-form-urlencoded"
#: media types of a Definition; Markdown with front matter is a Definition's own text as well
TEXTS = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/markdown"})
BODY_BYTES = 4 * 1024 * 1024
DEPTH = 64
#: values in a body: each wrong value costs 10 µs to report
VALUES = 50_000
FORM_BYTES = 4096
FORM_FIELDS = 20
EVENT = "X-Kheish-Event"
#: a number that may exceed 64 bits: many digits, or a large exponent
_LONG = re.compile(rb"\d{19}|\d[eE]\+?\d{3}")


class _Twice(ValueError):
    """An object with a repeated member."""


def _integer(text: str) -> int:
    value = int(text) if len(text) < 30 else 1 << 64
    if not -(1 << 63) <= value < 1 << 64:
        raise Invalid(f"The number {text[:40]} has more than 64 bits; send it as text.")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Twice
    return members


async def body(req: Request) -> bytes:
    """Return the whole body. Raises TooLarge."""
    length = req.content_length
    if length is not None and length > BODY_BYTES:
        raise TooLarge.of_body(length, BODY_BYTES)
    raw = await req.stream.read(BODY_BYTES + 1)
    if len(raw) > BODY_BYTES:
        raise TooLarge(f"The body has more than {BODY_BYTES} bytes.")
    return bytes(raw)


def media_type(req: Request) -> str:
    """Return the declared media type, without parameters, in lower case."""
    return (req.content_type or "").partition(";")[0].strip().lower()


async def read(req: Request, model: type[M]) -> M:
    """Return the body as `model`; an empty body counts as an empty object.

    Raises TooLarge, UnsupportedMedia, Invalid with a fault for each wrong place.
    """
    raw = await body(req)
    if not raw:
        raw = b"{}"
    elif media_type(req) != JSON:
        shown = media_type(req) or "no media type"
        raise UnsupportedMedia(f"The body is sent as {shown}; send {JSON} (curl: -H 'Content-Type: {JSON}').")
    try:
        if not plain_json(raw):
            return await parsing.run(explain, model, raw)
        return model.__pydantic_validator__.validate_json(raw, strict=True)  # type: ignore[no-any-return,unused-ignore]
    except (ValidationError, ValueError, RecursionError):
        # The reader of Definitions explains the faults in plain words. It is slow, so it runs off the event loop.
        return await parsing.run(explain, model, raw)


async def read_form(req: Request, model: type[M]) -> M:
    """Return the fields of a page's form as `model`. Raises TooLarge, UnsupportedMedia, Invalid."""
    if media_type(req) != FORM:
        raise UnsupportedMedia(f"The form is sent as {media_type(req) or 'no media type'}; send {FORM}.")
    if req.content_length is None or req.content_length > FORM_BYTES:
        raise TooLarge(f"A form has at most {FORM_BYTES} bytes, and needs Content-Length.")
    raw = await body(req)
    try:
        fields = parse_qsl(
            raw.decode(), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=FORM_FIELDS
        )
    except ValueError as error:
        raise Invalid(f"The form cannot be read: {error}.") from error
    return explain(model, orjson.dumps(dict(fields)))


def plain_json(raw: bytes) -> bool:
    """Return whether `raw` is JSON without surprises: no repeated member, no lone surrogate, limited nesting.

    Raises ValueError, RecursionError; Invalid for a number that no journal can hold, TooLarge for too many values.
    """
    if _LONG.search(raw):
        json.loads(raw, parse_int=_integer, parse_float=definitions.finite)
    value = orjson.loads(raw)
    if raw.count(b",") >= VALUES and _is_more(value, VALUES):
        raise TooLarge(f"The body has more than {VALUES} values.")
    if not (isinstance(value, dict) and raw.count(b":") == len(value)):
        # If the colons are as many as the members, nothing is nested or repeated; otherwise the value is checked
        # closely.
        json.loads(raw, object_pairs_hook=_once)
    return raw.count(b"{") + raw.count(b"[") <= DEPTH or not _deep(value)


def _levels(value: Any) -> Iterator[list[Any]]:
    """Yield the values of each level: the value alone, then its members, and so on."""
    level = [value]
    while level:
        yield level
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [item for items in inner for item in items]


def _deep(value: Any) -> bool:
    return any(depth >= DEPTH for depth, _ in enumerate(_levels(value)))


def _is_more(value: Any, most: int) -> bool:
    return any(count > most for count in accumulate(len(level) for level in _levels(value)))


def explain(model: type[M], raw: bytes) -> M:
    """Return the model, read slowly. Raises Invalid with every fault."""
    if raw.strip() == b"null":  # in a file it would count as empty
        raise Invalid("The body is null; send an object, or no body.")
    parsed = definitions.parse_json(model, raw, "")
    errors = [problem for problem in parsed.problems if problem.severity == "error"]
    if parsed.value is not None and not errors:
        return parsed.value
    raise Invalid(_sentence(errors), errors=[Fault(one.pointer, one.message) for one in errors])


def _sentence(errors: list[problems.Problem]) -> str:
    phrases = []
    for one in errors[:3]:
        place = one.pointer or (f"line {one.line}, column {one.column}" if one.line else "the body")
        phrases.append(f"{place}: {one.message}")
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
    return f"The request cannot be used: {'; '.join(phrases)}{more}."


def idempotency(req: Request, request: BaseModel, scope: str) -> Idempotency | None:
    """Return the key of the header or of the body's `idempotency_key`, with a digest of the request.

    Raises IdempotencyMismatch if both are given and differ.
    """
    key = one_key(req, getattr(request, "idempotency_key", None), "idempotency_key")
    if key is None:
        return None
    return keys.of(scope, key, request.model_dump(mode="json", exclude={"idempotency_key"}, exclude_none=True))


def one_key(req: Request, inside: str | None, name: str) -> str | None:
    """Return the key of the header or of the body's member `name`. Raises IdempotencyMismatch if both differ."""
    header = req.get_header("Idempotency-Key")
    if header is not None and inside is not None and header != inside:
        raise IdempotencyMismatch(
            f"The Idempotency-Key header and the body's {name} differ; send one of them.",
            errors=[Fault(f"/{name}", f"is {inside!r}, the header says {header!r}")],
        )
    return header if header is not None else inside


def send(resp: Response, value: Any, *, status: int = 200, n: int | None = None) -> None:
    """Answer with JSON. `n` is the event that the caller's stream can continue from."""
    resp.status = status
    resp.content_type = JSON
    resp.data = value if isinstance(value, bytes) else orjson.dumps(value)
    if n is not None:
        resp.set_header(EVENT, str(n))


def page(items: list[Any], next_cursor: str | None = None) -> Mapping[str, Any]:
    """Return a page in the format of every list."""
    return {"items": items, "next_cursor": next_cursor}


def wants_text(req: Request) -> bool:
    """Return whether the caller asks for a file in its original text."""
    accept = (req.get_header("Accept") or "").lower()
    if not accept or JSON in accept:
        return False
    return any(one.partition(";")[0].strip() in TEXTS for one in accept.split(","))
