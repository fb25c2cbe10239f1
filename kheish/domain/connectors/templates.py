"""Templates of binding keys: `slack:{channel}:{thread_ts}`, with dotted names for members of members."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kheish.errors import Fault, Invalid

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]{0,127})\}")
_BRACES = re.compile(r"[{}]")
#: characters of a key, and of each value in it
MOST_KEY, MOST_VALUE = 400, 200


def names(template: str) -> tuple[str, ...]:
    """Return the names in a template, in order. Raises ValueError for a template that cannot be read."""
    rest = _PLACE.sub("", template)
    if _BRACES.search(rest):
        raise ValueError(f"{template!r} has a brace that belongs to no name; write names as {{channel}} or {{a.b}}")
    return tuple(dict.fromkeys(_PLACE.findall(template)))


def check(template: str) -> str:
    """Return a template that has at least one name. Raises ValueError."""
    if not names(template):
        raise ValueError(f"{template!r} names no field; for one session write fixed: NAME")
    return template


def render(template: str, fields: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the key for the fields of an arrival, and the values in it. Raises Invalid for a field that is missing or
    is not a plain value."""
    values: list[str] = []

    def fill(found: re.Match[str]) -> str:
        value = look_up(fields, found[1])
        if value is None or isinstance(value, dict | list) or value == "":
            raise Invalid(
                f"The session's key {template!r} needs {found[1]!r}, which this request does not have.",
                errors=[Fault(f"/{found[1].replace('.', '/')}", "is missing, or not a text or number")],
            )
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if len(text) > MOST_VALUE or not text.isprintable():
            raise Invalid(
                f"The value of {found[1]!r} cannot be part of a session's key: at most {MOST_VALUE} printable "
                "characters.",
                errors=[Fault(f"/{found[1].replace('.', '/')}", "is too long, or not printable")],
            )
        values.append(text)
        return text

    key = _PLACE.sub(fill, template)
    if len(key) > MOST_KEY:
        raise Invalid(f"The session's key has {len(key)} characters; at most {MOST_KEY}.")
    return key, tuple(values)


def look_up(fields: Mapping[str, Any], name: str) -> Any:
    """Return a member by its dotted name; None if it is missing."""
    if name in fields:
        return fields[name]
    value: Any = fields
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def fill(text: str, fields: Mapping[str, Any]) -> Any:
    """Return a text with its names filled in, empty where a field is missing; a text that is one name keeps the type of
    its value."""
    whole = _PLACE.fullmatch(text)
    if whole is not None:
        value = look_up(fields, whole[1])
        return "" if value is None else value
    return _PLACE.sub(lambda found: _shown(look_up(fields, found[1])), text)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def named(text: str) -> tuple[str, ...]:
    """Return the names in a text that may be no template at all."""
    return tuple(dict.fromkeys(_PLACE.findall(text)))
