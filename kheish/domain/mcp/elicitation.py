"""Elicitation: what a server asks of a user, as the items of a question, and the answers in the server's form.

A form is a flat JSON Schema: texts, numbers, truth values, and choices. In URL mode the user opens a page, and its host
is shown first. All texts come from the server, and are shown as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from math import isfinite
from typing import Any, Literal
from urllib.parse import urlsplit

from kheish.domain.events import Option, QuestionAnswered, QuestionItem, frozen
from kheish.texts import is_number

#: the item of a request that is confirmed as a whole: a page to open, or a form without fields
CONFIRM = "confirm"
#: the choices of what the server suggests, and of nothing
DEFAULT, SKIP = "default", "-"
_MOST_FIELDS, _MOST_CHOICES = 20, 50
_TEXT, _LABEL = 2000, 200
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")

Action = Literal["accept", "decline", "cancel"]


@frozen
class Asked:
    """A request of a server. `at` is its place among those of a call, `key` the server's name of it, `params` are its
    parameters, as plain data."""

    at: int
    key: str
    params: Mapping[str, Any]


def asked(requests: Mapping[str, Mapping[str, Any]]) -> list[Asked]:
    """Return the requests of a call in the order of their keys."""
    return [
        Asked(at=at, key=key, params=one.get("params") or {}) for at, (key, one) in enumerate(sorted(requests.items()))
    ]


class Unsupported(ValueError):
    """An error for a request that cannot be shown to a user."""


def items(server: str, asked: Asked, fault: str | None = None) -> tuple[QuestionItem, ...]:
    """Return the items that show a request to a user; `fault` is what was wrong with the answers before.

    Raises Unsupported.
    """
    message = str(asked.params.get("message") or "")[:_TEXT]
    again = f"\n\nThe answers before cannot be used: {fault}" if fault else ""
    if asked.params.get("mode") == "url":
        return (_page(server, asked, message, again),)
    fields = list(_fields(asked))
    if not fields:
        text = f"The MCP server {server} asks: {message}{again}"
        options = (Option(id="yes", label="Yes"), Option(id="no", label="No"))
        return (QuestionItem(id=_id(asked, CONFIRM), header=server, text=text, options=options),)
    intro = f"The MCP server {server} asks: {message}{again}\n\n"
    return tuple(
        _item(asked, name, schema, needed=needed, intro=intro if at == 0 else "")
        for at, (name, schema, needed) in enumerate(fields)
    )


def _page(server: str, asked: Asked, message: str, again: str) -> QuestionItem:
    url = str(asked.params.get("url") or "")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise Unsupported("the page to open has no usable URL")
    host = parts.hostname.encode("ascii", "backslashreplace").decode()
    text = f"{host}: the MCP server {server} asks you to open a page there: {url}\n\n{message}{again}"
    options = (
        Option(id="yes", label="Done", description="The page was opened, and what it asks for is done."),
        Option(id="no", label="No", description="The page is not opened."),
    )
    return QuestionItem(id=_id(asked, CONFIRM), header=host[:_LABEL], text=text, options=options)


def _fields(asked: Asked) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Yield the fields of a form: name, schema, and whether it is required. Raises Unsupported."""
    schema = asked.params.get("requestedSchema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or not isinstance(properties or {}, Mapping):
        raise Unsupported("its form is no object with properties")
    required = schema.get("required")
    needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    if properties is not None and len(properties) > _MOST_FIELDS:
        raise Unsupported(f"its form has more than {_MOST_FIELDS} fields")
    for name, field in (properties or {}).items():
        if not isinstance(field, Mapping) or _kind(field) is None:
            raise Unsupported(f"the field {name!r} of its form is of no known kind")
        yield str(name), field, name in needed


def _kind(field: Mapping[str, Any]) -> str | None:
    """Return the kind of a field: text, number, integer, truth, one, many; None for an unknown one."""
    match field.get("type"):
        case "boolean":
            return "truth"
        case "number" | "integer" as kind:
            return str(kind)
        case "array":
            return "many" if _choices(field.get("items")) else None
        case "string" | None if _choices(field):
            return "one"
        case "string":
            return "text"
    return None


def _choices(field: Any) -> list[tuple[str, str]]:
    """Return the values of a choice with their labels."""
    if not isinstance(field, Mapping):
        return []
    for key in ("oneOf", "anyOf"):
        given = field.get(key)
        if isinstance(given, list):
            return [
                (str(one["const"]), str(one.get("title") or one["const"]))
                for one in given[:_MOST_CHOICES]
                if isinstance(one, Mapping) and isinstance(one.get("const"), str)
            ]
    values = field.get("enum")
    if not isinstance(values, list):
        return []
    names = field.get("enumNames")
    labels = names if isinstance(names, list) and len(names) == len(values) else values
    pairs = zip(values[:_MOST_CHOICES], labels, strict=False)
    return [(value, str(label)) for value, label in pairs if isinstance(value, str)]


def _item(asked: Asked, name: str, field: Mapping[str, Any], *, needed: bool, intro: str) -> QuestionItem:
    title = str(field.get("title") or name)[:_LABEL]
    kind = _kind(field) or ""
    is_free, default = kind in ("text", "number", "integer"), _default(field, kind)
    about = [str(field["description"])[:_TEXT]] if field.get("description") else []
    about += [_bounds(field)] if is_free and _bounds(field) else []
    about += [f"Without an answer: {_shown(field, kind, default)}."] if default is not None else []
    choices = [(str(at), label) for at, (_, label) in enumerate(_values(field, kind))]
    choices += [(DEFAULT, _shown(field, kind, default))] if is_free and default is not None else []
    choices += [] if needed else [(SKIP, "Leave it out")]
    return QuestionItem(
        id=_id(asked, name),
        header=title,
        text=f"{intro}{title}" + (f": {' '.join(about)}" if about else ""),
        options=tuple(Option(id=id, label=label[:_LABEL]) for id, label in choices),
        multi_select=kind == "many",
        free_text=is_free,
    )


def _default(field: Mapping[str, Any], kind: str) -> Any:
    """Return the value that the server suggests; None without one, or with one that does not fit its own form."""
    default = field.get("default")
    match kind, default:
        case ("text", str()) | ("truth", bool()):
            fits = True
        case ("number" | "integer", int() | float()):
            fits = not isinstance(default, bool) and (kind == "number" or isinstance(default, int))
        case ("one", str()):
            fits = default in dict(_values(field, kind))
        case ("many", list()):
            known = dict(_values(field, kind))
            fits = all(isinstance(one, str) and one in known for one in default)
        case _:
            fits = False
    try:
        return _checked(field, kind, default) if fits else None
    except ValueError:
        return None


def _shown(field: Mapping[str, Any], kind: str, value: Any) -> str:
    """Return a value of a field in the words of its choices."""
    labels = dict(_values(field, kind))
    if kind == "many":
        return ", ".join(labels[one] for one in value) or "none of them"
    return str(labels.get(value, value)) or "an empty text"


def _values(field: Mapping[str, Any], kind: str) -> list[tuple[Any, str]]:
    """Return the values that a user chooses from, with their labels."""
    match kind:
        case "truth":
            return [(True, "Yes"), (False, "No")]
        case "one":
            return [*_choices(field)]
        case "many":
            return [*_choices(field["items"])]
    return []


def _bounds(field: Mapping[str, Any]) -> str:
    words = {"minimum": "at least", "maximum": "at most", "minLength": "characters, at least",
             "maxLength": "characters, at most", "format": "format"}  # fmt: skip
    parts = [f"{text} {field[key]}" for key, text in words.items() if field.get(key) is not None]
    return f"({', '.join(parts)})" if parts else ""


def _id(asked: Asked, name: str) -> str:
    """Return the id of an item: a text that users can write in a file or a command."""
    plain = _FOREIGN.sub("_", name)[:60]
    suffix = "" if plain == name else f"-{sha256(name.encode()).hexdigest()[:4]}"
    return f"{asked.at + 1}.{plain}{suffix}"


def responses(requests: Sequence[Asked], answer: QuestionAnswered) -> dict[str, dict[str, Any]]:
    """Return a user's answer in the server's form, by its own keys. Raises ValueError naming each bad answer."""
    if answer.outcome != "answered":
        action = "decline" if answer.outcome == "declined" else "cancel"
        return {one.key: {"action": action} for one in requests}
    return {one.key: result(one, answer.answers or {}) for one in requests}


def result(asked: Asked, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers as the server expects them: `{action, content}`. Raises ValueError naming each bad answer."""
    confirmed = answers.get(_id(asked, CONFIRM))
    if confirmed is not None:
        is_yes = "yes" in (confirmed.get("selected") or [])
        is_form = asked.params.get("mode") != "url"
        return {"action": "accept" if is_yes else "decline"} | ({"content": {}} if is_yes and is_form else {})
    content: dict[str, Any] = {}
    faults: list[str] = []
    for name, field, needed in _fields(asked):
        given = answers.get(_id(asked, name)) or {}
        try:
            value = _value(field, given)
        except ValueError as error:
            faults.append(f"{name}: {error}")
            continue
        if value is not None:
            content[name] = value
        elif needed:
            faults.append(f"{name}: is required")
    if faults:
        raise ValueError("; ".join(faults))
    return {"action": "accept", "content": content}


def _value(field: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Return the value of a field; None if it was left out. Raises ValueError."""
    selected, text, kind = list(given.get("selected") or []), given.get("text"), _kind(field) or ""
    if SKIP in selected:
        return None
    if DEFAULT in selected or (not selected and text is None):
        return _default(field, kind)
    if kind in ("truth", "one", "many"):
        values = [value for value, _ in _values(field, kind)]
        chosen = [values[int(one)] for one in selected if is_number(one) and int(one) < len(values)]
        return chosen if kind == "many" else next(iter(chosen), None)
    if text is None or (text == "" and kind != "text"):
        return None
    if kind == "text":
        return _checked(field, kind, str(text))
    try:
        number: float = int(text) if kind == "integer" else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {'whole number' if kind == 'integer' else 'number'}") from None
    return _checked(field, kind, number)


def _checked(field: Mapping[str, Any], kind: str, value: Any) -> Any:
    """Return a value that is within the bounds of its field. Raises ValueError."""
    if kind == "text":
        _check_bounds(field, len(value), "minLength", "maxLength", " characters")
    elif kind in ("number", "integer"):
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{str(value)!r} is no number")
        _check_bounds(field, value, "minimum", "maximum", "")
    return value


def _check_bounds(field: Mapping[str, Any], size: float, least: str, most: str, unit: str) -> None:
    low, high = field.get(least), field.get(most)
    if isinstance(low, int | float) and size < low:
        raise ValueError(f"must be at least {low}{unit}")
    if isinstance(high, int | float) and size > high:
        raise ValueError(f"must be at most {high}{unit}")
