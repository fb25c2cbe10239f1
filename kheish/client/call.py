"""Requests as data: what to send and how to read the reply. `requests.py` has all of them. No I/O here."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from kheish.client import faults
from kheish.errors import Unreachable

T = TypeVar("T")
Fields = Mapping[str, object]
JSON, YAML = "application/json", "application/yaml"
#: seconds that a response may take; a git push takes as long as the network needs, and the daemon limits it
PATIENCE, PUSHING = 60.0, 3600.0
#: seconds for which a read is sent again while the daemon is not ready
NOT_READY = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """A Definition as it is stored, byte for byte, and the ETag to send back with a change."""

    text: str
    etag: str | None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request; `read` turns its reply into the result of the method. `patience` is in seconds."""

    method: str
    path: str
    read: Callable[[Reply], T]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    patience: float = PATIENCE


@dataclass(frozen=True, slots=True)
class Stream:
    """An event stream; its position (`after`) is added with each request."""

    path: str
    query: Fields


def answer(call: Call[T], reply: Reply) -> T:
    """Return the result of a call. Raises the KheishError that a problem document stands for."""
    if reply.status >= 400:
        raise faults.from_reply(reply.status, reply.body)
    return call.read(reply)


def again_after(call: Call[Any], reply: Reply, waited: float) -> float | None:
    """Return the seconds after which to send a read again that came while the daemon starts or makes its index again;
    None if this reply counts. `waited` is the time since it was first sent, in seconds."""
    if call.method != "GET" or reply.status != 503 or waited > NOT_READY:
        return None
    pause = faults.from_reply(reply.status, reply.body).extra.get("retry_after")
    return float(pause) if isinstance(pause, int | float) and pause > 0 else None


def read_json(reply: Reply) -> Any:
    """Return the value of a JSON reply. Raises Unreachable for anything else."""
    try:
        return json.loads(reply.body) if reply.body else None
    except ValueError as error:
        raise Unreachable("The response is not JSON; is it a Kheish daemon? See the address in --url.") from error


def read_nothing(_: Reply) -> None:
    """Return None: the reply has no content."""
    return


def read_text(reply: Reply) -> str:
    """Return a reply that is text."""
    return reply.body.decode()


def read_bytes(reply: Reply) -> bytes:
    """Return a reply that is a file."""
    return reply.body


def read_source(reply: Reply) -> Text:
    """Return a Definition's own text with its ETag."""
    return Text(reply.body.decode(), reply.headers.get("etag"))


def quoted(part: str) -> str:
    """Return a segment of a path with everything quoted that would end it."""
    return quote(part, safe="")


def located(path: str, query: Fields) -> str:
    """Return the path with those query parameters that are not None."""
    values = {name: _word(value) for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(values)}" if values else path


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Collection) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


def given(fields: Fields) -> Fields:
    """Return the fields that are not None; None stands for an absent field."""
    return {name: value for name, value in fields.items() if value is not None}


def get(path: str, read: Callable[[Reply], Any] = read_json, *, accept: str | None = None, wait: str | None = None,
        query: Fields | None = None) -> Call[Any]:  # fmt: skip
    """Return a request that reads; `wait` is the time of its long poll."""
    headers = {"accept": accept} if accept else {}
    return Call("GET", located(path, query or {}), read, headers=headers, patience=PATIENCE + seconds(wait))


def send(method: str, path: str, body: Fields, *, query: Fields | None = None, key: str | None = None,
         wait: str | None = None, patience: float = PATIENCE, if_match: str | None = None,
         if_none_match: str | None = None) -> Call[Any]:  # fmt: skip
    """Return a request that sends JSON; `key` makes a repetition harmless, `wait` is the time of its long poll."""
    content = json.dumps(body, ensure_ascii=False).encode()
    headers = {"content-type": JSON} | ({"idempotency-key": key} if key else {})
    headers |= _preconditions(if_match, if_none_match)
    return Call(method, located(path, query or {}), read_json, content, headers, patience + seconds(wait))


def define(method: str, path: str, content: Fields | str, *, query: Fields | None = None,
           if_match: str | None = None, if_none_match: str | None = None) -> Call[Any]:  # fmt: skip
    """Return a request that sends a Definition: its fields as JSON, or the file's own text."""
    if isinstance(content, str):
        body, media = content.encode(), YAML
    else:
        body, media = json.dumps(content, ensure_ascii=False).encode(), JSON
    headers = {"content-type": media} | _preconditions(if_match, if_none_match)
    return Call(method, located(path, query or {}), read_json, body, headers)


def remove(path: str, read: Callable[[Reply], Any] = read_nothing, *, if_match: str | None = None) -> Call[Any]:
    """Return a request that deletes."""
    return Call("DELETE", path, read, headers=_preconditions(if_match))


def seconds(wait: str | None) -> float:
    """Return the seconds of a duration; 0 for an invalid one, which the daemon refuses."""
    from kheish.ids import duration

    try:
        return duration(wait) if wait else 0.0
    except ValueError:
        return 0.0


def _preconditions(if_match: str | None, if_none_match: str | None = None) -> dict[str, str]:
    """Return the headers that make a write conditional: on an ETag, or (`*`) on there being nothing yet."""
    given = {"if-match": if_match, "if-none-match": if_none_match}
    return {name: value for name, value in given.items() if value}
