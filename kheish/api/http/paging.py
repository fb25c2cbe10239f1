"""Query parameters: which ones an endpoint knows, what they may be, and the pages of lists."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kheish import ids
from kheish.errors import Fault, Invalid, InvalidCursor
from kheish.store.edits.problems import nearest

Kind = Literal["text", "count", "flag", "duration", "choice"]
LIMIT, MOST = 50, 200
WAIT_MOST = 600.0
#: of a query: how many values in all, and how long one may be (a cursor is the longest that there is)
MOST_VALUES, MOST_CHARS = 100, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One query parameter. `many` takes several, repeated or with commas; `most` bounds a count; `required` is for the
    description, its endpoint says what is missing."""

    name: str
    kind: Kind = "text"
    about: str = ""
    choices: tuple[str, ...] = ()
    many: bool = False
    least: int = 0
    most: int | None = None
    required: bool = False


Given = Mapping[str, Any]
NONE: Given = {}

PAGE = (
    Param(name="limit", kind="count", least=1, most=MOST, about=f"How many at most ({LIMIT})."),
    Param(name="cursor", about="The `next_cursor` of the page before."),
)
PREFIX = Param(name="id_prefix", about="Only those whose id begins with this.")
SESSION = (
    Param(name="session", about="Only those of this session."),
    Param(name="session_id", about="The same as `session`."),
)


def choices(name: str, values: Iterable[str], about: str = "") -> Param:
    """A filter that takes one or more of `values`."""
    return Param(name=name, kind="choice", choices=tuple(values), many=True, about=about or f"Only with this {name}.")


def text(name: str, about: str = "") -> Param:
    """A filter that is compared with a field."""
    return Param(name=name, about=about or f"Only with this {name}.")


def parse(raw: Mapping[str, str | list[str]], known: Sequence[Param]) -> Given:
    """The parameters of a request by name. Raises Invalid for one that is unknown, repeated, or has a bad value."""
    _bound(raw)
    by_name = {param.name: param for param in known}
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in raw.items():
        param = by_name.get(name)
        if param is None:
            near = nearest(name, by_name)
            rest = f"did you mean {near!r}?" if near else f"known here: {', '.join(by_name) or 'none'}"
            faults.append(Fault(f"?{name}", f"is no parameter of this endpoint; {rest}"))
            continue
        try:
            found[name] = _value(param, value)
        except ValueError as error:
            faults.append(Fault(f"?{name}", str(error)))
    if faults:
        told = "; ".join(f"{fault.path[1:]} {fault.message}" for fault in faults)
        kind = InvalidCursor if any(fault.path == "?cursor" for fault in faults) else Invalid
        raise kind(f"The query cannot be used: {told}.", errors=faults)
    return found


def _bound(raw: Mapping[str, str | list[str]]) -> None:
    """Before anything is compared or quoted. Raises Invalid."""
    values = [text for value in raw.values() for text in (value if isinstance(value, list) else [value])]
    if len(values) + sum(text.count(",") for text in values) > MOST_VALUES:
        raise Invalid(f"The query has more than {MOST_VALUES} values; ask several times.")
    if any(len(text) > MOST_CHARS for text in (*raw, *values)):
        raise Invalid(f"A name or value of the query has more than {MOST_CHARS} characters.")


def _value(param: Param, value: str | list[str]) -> Any:
    if param.many:
        texts = value if isinstance(value, list) else [value]
        parts = [part for text in texts for part in text.split(",") if part]
        return tuple(_one(param, part) for part in parts)
    if isinstance(value, list):
        raise ValueError("is given more than once")
    return _one(param, value)


def _one(param: Param, value: str) -> Any:
    match param.kind:
        case "count":
            return _count(param, value)
        case "flag":
            if value not in ("true", "false"):
                raise ValueError(f"is {value!r}; write true or false")
            return value == "true"
        case "duration":
            seconds = ids.duration(value)
            if seconds > WAIT_MOST:
                raise ValueError(f"is {value!r}; at most {WAIT_MOST:g}s")
            return seconds
        case "choice" if value not in param.choices:
            near = nearest(value, param.choices)
            raise ValueError(
                f"is {value!r}; {f'did you mean {near!r}?' if near else 'one of ' + ', '.join(param.choices)}"
            )
        case _:
            if not value:
                raise ValueError("is empty")
            return value


def _count(param: Param, value: str) -> int:
    number = int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else -1
    if number < param.least or (param.most is not None and number > param.most):
        span = f"{param.least} to {param.most}" if param.most is not None else f"from {param.least} up"
        raise ValueError(f"is {value!r}; it is a number {span}")
    return number


def session_of(given: Given) -> str | None:
    """The session that a list is filtered by. Raises Invalid where two are named."""
    one, other = given.get("session"), given.get("session_id")
    if one is not None and other is not None and one != other:
        raise Invalid(f"session and session_id differ ({one!r}, {other!r}); send one of them.")
    found: str | None = one if one is not None else other
    return found


def cursor_of(kind: str, place: str | int) -> str:
    """An opaque cursor; `kind` keeps a cursor of one list from being used on another."""
    return base64.urlsafe_b64encode(f"{kind}{place}".encode()).decode().rstrip("=")


def place_of(kind: str, cursor: str | None) -> str | None:
    """What a cursor of this kind holds; None without one. Raises InvalidCursor."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raw = ""
    if not raw.startswith(kind) or cursor_of(kind, raw.removeprefix(kind)) != cursor:
        raise InvalidCursor("The cursor is not one that this list gave; start again without it.")
    return raw.removeprefix(kind)


def number_of(kind: str, cursor: str | None) -> int | None:
    """As `place_of`, for cursors that hold a number."""
    place = place_of(kind, cursor)
    if place is None:
        return None
    if not (place.isascii() and place.isdecimal() and len(place) < 19):
        raise InvalidCursor("The cursor is not one that this list gave; start again without it.")
    return int(place)
