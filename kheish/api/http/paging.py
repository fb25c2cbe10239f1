"""Query parameters: those of an endpoint, their values, and the pages of lists."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kheish import ids
from kheish.errors import Fault, Invalid, InvalidCursor
from kheish.store.edits.problems import nearest
from kheish.texts import is_number

Kind = Literal["text", "count", "flag", "duration", "choice"]
LIMIT, MOST = 50, 200
WAIT_MOST = 600.0
#: limits of a query: the number of values, and the length of a value (a cursor is the longest)
MOST_VALUES, MOST_CHARS = 100, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A query parameter. `many` accepts several values, repeated or with commas; `most` bounds a count; `required`
    serves the description only: the endpoint itself reports a missing value.
    """

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
    Param(name="limit", kind="count", least=1, most=MOST, about=f"The maximum number of items ({LIMIT})."),
    Param(name="cursor", about="The `next_cursor` of the previous page."),
)
PREFIX = Param(name="id_prefix", about="Only items whose id begins with this.")
SESSION = (
    Param(name="session", about="Only items of this session."),
    Param(name="session_id", about="The same as `session`."),
)


def choices(name: str, values: Iterable[str], about: str = "") -> Param:
    """Return a filter that accepts one or more of `values`."""
    return Param(name=name, kind="choice", choices=tuple(values), many=True, about=about or f"Only with this {name}.")


def text(name: str, about: str = "") -> Param:
    """Return a filter that is compared with a field."""
    return Param(name=name, about=about or f"Only with this {name}.")


def parse(raw: Mapping[str, str | list[str]], known: Sequence[Param]) -> Given:
    """Return the parameters of a request by name. Raises Invalid for an unknown, repeated or invalid parameter."""
    _check_size(raw)
    by_name = {param.name: param for param in known}
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in raw.items():
        param = by_name.get(name)
        if param is None:
            near = nearest(name, by_name)
            rest = f"did you mean {near!r}?" if near else f"known here: {', '.join(by_name) or 'none'}"
            faults.append(Fault(f"?{name}", f"is not a parameter of this endpoint; {rest}"))
            continue
        try:
            values[name] = _value(param, value)
        except ValueError as error:
            faults.append(Fault(f"?{name}", str(error)))
    if faults:
        reasons = "; ".join(f"{fault.path[1:]} {fault.message}" for fault in faults)
        kind = InvalidCursor if any(fault.path == "?cursor" for fault in faults) else Invalid
        raise kind(f"The query cannot be used: {reasons}.", errors=faults)
    return values


def _check_size(raw: Mapping[str, str | list[str]]) -> None:
    """Check the size of the query before any comparison or quoting. Raises Invalid."""
    values = [text for value in raw.values() for text in (value if isinstance(value, list) else [value])]
    if len(values) + sum(text.count(",") for text in values) > MOST_VALUES:
        raise Invalid(f"The query has more than {MOST_VALUES} values; split the request.")
    if any(len(text) > MOST_CHARS for text in (*raw, *values)):
        raise Invalid(f"A name or value of the query has more than {MOST_CHARS} characters.")


def _value(param: Param, value: str | list[str]) -> Any:
    if param.many:
        texts = value if isinstance(value, list) else [value]
        parts = [part for text in texts for part in text.split(",") if part]
        return tuple(_parse_value(param, part) for part in parts)
    if isinstance(value, list):
        raise ValueError("is given more than once")
    return _parse_value(param, value)


def _parse_value(param: Param, value: str) -> Any:
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
    number = int(value) if is_number(value) and len(value) < 19 else -1
    if number < param.least or (param.most is not None and number > param.most):
        span = f"{param.least} to {param.most}" if param.most is not None else f"from {param.least} up"
        raise ValueError(f"is {value!r}; it is a number {span}")
    return number


def session_of(given: Given) -> str | None:
    """Return the session that a list is filtered by. Raises Invalid if two are named."""
    one, other = given.get("session"), given.get("session_id")
    if one is not None and other is not None and one != other:
        raise Invalid(f"session and session_id differ ({one!r}, {other!r}); send one of them.")
    session_id: str | None = one if one is not None else other
    return session_id


def cursor_of(kind: str, place: str | int) -> str:
    """Return an opaque cursor; `kind` prevents the use of one list's cursor on another."""
    return base64.urlsafe_b64encode(f"{kind}{place}".encode()).decode().rstrip("=")


def place_of(kind: str, cursor: str | None) -> str | None:
    """Return the content of a cursor of this kind, or None without a cursor. Raises InvalidCursor."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raw = ""
    if not raw.startswith(kind) or cursor_of(kind, raw.removeprefix(kind)) != cursor:
        raise InvalidCursor("The cursor is not from this list; restart without it.")
    return raw.removeprefix(kind)


def number_of(kind: str, cursor: str | None) -> int | None:
    """Return the number in a cursor. Raises InvalidCursor."""
    place = place_of(kind, cursor)
    if place is None:
        return None
    if not (is_number(place) and len(place) < 19):
        raise InvalidCursor("The cursor is not from this list; restart without it.")
    return int(place)
