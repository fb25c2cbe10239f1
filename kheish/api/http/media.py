"""Request and response bodies: strict JSON into models, values as JSON, and the accepted media types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import orjson
from falcon.asgi import Request, Response
from pydantic import BaseModel, ValidationError

from kheish.authoring import preconditions
from kheish.domain import keys
from kheish.domain.events import Idempotency
from kheish.errors import Fault, IdempotencyMismatch, Invalid, TooLarge, UnsupportedMedia
from kheish.store import parsing
from kheish.store.edits import definitions, problems

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)

JSON = "application/json"
YAML = "application/yaml"
FORM = "application/x-www-form-urlencoded"
#: media types of a Definition; Markdown with front matter is a Definition's own text as well
TEXTS = frozenset({YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/markdown"})
BODY_BYTES = 4 * 1024 * 1024
#: the most that an upload of an asset can have, in Base64; `assets.max` is at most 100 MiB, and its resource compares
UPLOAD_BYTES = 151 * 1024 * 1024
_UPLOADS = b"/v1/assets"
_SOURCES, _OBSERVED = b"/v1/sources/", b"/observations"
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


def most_bytes(method: bytes, url: bytes) -> int:
    """Return the most bytes of a request's body; uploads have a limit of their own."""
    path = urlsplit(url).path
    is_upload = method == b"POST" and (path == _UPLOADS or (path.startswith(_SOURCES) and path.endswith(_OBSERVED)))
    return UPLOAD_BYTES if is_upload else BODY_BYTES


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
        # pydantic types this as Any in some releases only.
        return model.__pydantic_validator__.validate_json(raw, strict=True)  # type: ignore[no-any-return,unused-ignore]
    except (ValidationError, ValueError, RecursionError):
        # The reader of Definitions explains the faults in plain words. It is slow, so it runs off the event loop.
        return await parsing.run(explain, model, raw)


def faults(error: ValidationError) -> list[Fault]:
    """Return the faults of a large body, which the reader of Definitions would be too slow for, in plain words."""
    return [
        Fault("/" + "/".join(map(str, one["loc"])), _words(one))
        for one in error.errors(include_url=False, include_input=False)[:20]
    ]


def _words(item: ErrorDetails) -> str:
    if item["type"] == "missing":
        return "is missing"
    if item["type"] == "extra_forbidden":
        return f"unknown key {item['loc'][-1]!r}"
    if (words := problems.limit(item["type"], item.get("ctx", {}))) is not None:
        return words
    return item["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)


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
    said = f"The request cannot be used: {'; '.join(phrases)}{more}"
    return said if said.endswith("?") else f"{said}."


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


def sent_etag(req: Request) -> str | None:
    """Return the ETag that the caller expects to replace, or `preconditions.ABSENT` if it only creates. Raises
    Invalid."""
    text, other = req.get_header("If-Match"), req.get_header("If-None-Match") if req.method == "PUT" else None
    if other is not None:
        if text is not None or other.strip() != preconditions.ANY:
            raise Invalid("If-None-Match takes *, which only creates, and no If-Match beside it.")
        return preconditions.ABSENT
    if text is None:
        return None
    tag = text.strip().removeprefix("W/").strip('"')
    if not tag or "," in tag:
        raise Invalid("If-Match takes one ETag, or *.")
    return tag


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


def wants_page(req: Request) -> bool:
    """Return whether the caller is a browser that shows the answer to its user."""
    return "text/html" in (req.get_header("Accept") or "").lower()


def wants_text(req: Request) -> bool:
    """Return whether the caller asks for a file in its original text."""
    accept = (req.get_header("Accept") or "").lower()
    if not accept or JSON in accept:
        return False
    return any(one.partition(";")[0].strip() in TEXTS for one in accept.split(","))
