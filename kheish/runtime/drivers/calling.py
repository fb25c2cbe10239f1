"""Assembly of tool calls from their fragments, robust against the servers' numbering and naming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kheish.runtime.drivers import bounds, growing, lenient
from kheish.runtime.drivers.base import Call
from kheish.texts import is_number

_LONGEST_NUMBER = 12  # digits of an index


class _Fragments:
    """A tool call in assembly; `extra` is data that the provider requires back with it (Gemini signs its calls)."""

    __slots__ = ("arguments", "extra", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.extra: dict[str, Any] = {}


class Calls:
    """The calls of one answer, `bounds.CALLS` at most; the others are counted in `left_out`."""

    def __init__(self, answers: int) -> None:
        self.left_out = 0
        self._answers = answers
        self._calls: list[_Fragments] = []
        self._at: dict[int, _Fragments] = {}  # by the provider's index: the newest call of that number
        self._effort = 0  # characters that were read to check whether a call is complete

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, fragments: Any) -> int:
        """Process the fragments of one document; returns how many characters of them are kept."""
        given = fragments if isinstance(fragments, list) else [fragments]
        seen: set[int] = set()
        size = 0
        for position, fragment in enumerate(given):
            if isinstance(fragment, dict):
                index = _index(fragment.get("index"), position)
                size += self._take(fragment, index, is_another=index in seen)
                seen.add(index)
        return size

    def _take(self, fragment: Mapping[str, Any], index: int, *, is_another: bool) -> int:
        function = fragment.get("function")
        function = function if isinstance(function, dict) else fragment
        id, name = _as_text(fragment.get("id")), _as_text(function.get("name"))
        arguments = _arguments_text(function.get("arguments"))
        call = self._at.get(index)
        if call is not None and name and id == call.id and self._is_whole(call):
            if id and (name, arguments) == (call.name, "".join(call.arguments)) and not is_another:
                return 0  # repeated at the end
            call = None
        if call is None or is_another or _is_new(call, fragment, id, name):
            call = self._at[index] = _Fragments()
            if len(self._calls) < bounds.CALLS:
                self._calls.append(call)
            else:
                self.left_out += 1
        call.id = call.id or id
        call.name = _extend_name(call.name, name)
        if arguments:
            call.arguments.append(arguments)
        for key, value in fragment.items():
            if value is not None and growing.is_opaque(str(key)):
                call.extra[str(key)] = value
        return len(arguments) + len(name) + 16

    def _is_whole(self, call: _Fragments) -> bool:
        """Return whether a call's arguments are complete. The check has a bound of work."""
        self._effort += sum(map(len, call.arguments))
        return self._effort <= bounds.KEPT and bool(call.arguments) and _object("".join(call.arguments)) is not None

    def finished(self) -> tuple[tuple[Call, ...], dict[str, Any]]:
        """Return the calls with unique ids, and by id the data that is sent back with them."""
        calls: dict[str, Call] = {}
        extra: dict[str, Any] = {}
        for index, part in enumerate(self._calls):
            id = part.id if part.id and part.id not in calls else f"call_{self._answers}_{index}"
            while id in calls:
                id += "_"
            arguments, malformed = parse_arguments("".join(part.arguments))
            calls[id] = Call(id=id, name=part.name[: bounds.NAME], arguments=arguments, malformed=malformed)
            if part.extra:
                extra[id] = growing.written(part.extra)
        return tuple(calls.values()), extra


def _is_new(call: _Fragments, fragment: Mapping[str, Any], id: str, name: str) -> bool:
    """Return whether a fragment with the number of a known call begins another: some servers number every call 0."""
    if id and call.id and id != call.id:
        return True
    if not name or not call.name or name.startswith(call.name):
        return False  # a piece of the arguments, or a repetition of the name
    return bool(call.arguments) or "id" in fragment or "type" in fragment  # else it is a piece of the name


def _extend_name(old: str, new: str) -> str:
    """Return a name extended by a piece; some servers repeat all of it, or all so far."""
    return old if not new or len(old) > bounds.NAME else new if new.startswith(old) else old + new


def _index(value: Any, position: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    return int(digits) if is_number(digits) and len(digits) <= _LONGEST_NUMBER else position


def _as_text(value: Any) -> str:
    """Return an id or a name as text; several servers use numbers."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return lenient.joined(str(value)[: bounds.NAME])


def _arguments_text(arguments: Any) -> str:
    """Return arguments as text: they may arrive as the object itself."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else orjson.dumps(lenient.clean(arguments)).decode()


def parse_arguments(raw: str) -> tuple[dict[str, Any], str | None]:
    """Return the arguments, and the raw text if it is no JSON object (an empty text is an empty object)."""
    value = _object(raw) if raw.strip() else {}
    return ({}, lenient.joined(raw)) if value is None else (value, None)


def _object(raw: str) -> dict[str, Any] | None:
    """Return the object in `raw`, even if encoded twice, null, or behind an empty one (some begin with `{}`)."""
    value = _loaded(raw)
    if value is None and raw.lstrip().startswith("{}"):
        value = _loaded(raw.lstrip()[2:])
    if isinstance(value, str):
        value = _loaded(value) if value.strip() else {}
    if value is None and raw.strip() == "null":
        value = {}
    return value if isinstance(value, dict) and not lenient.is_deep(value) else None


def _loaded(raw: str) -> Any:
    try:
        return lenient.clean(lenient.loads(raw, lenient.refuse))
    except ValueError:
        return None
