"""Acceptance: a conversation as messages that a server accepts, by a pure function, the last step before the driver.

History is replayed with every request, so that one invalid name in it would fail every later run of its session.
Nothing is refused here: an unacceptable message is rewritten, joined or converted to text, deterministically, so that
providers which cache prefixes get cache hits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from operator import is_
from typing import Any

import orjson

from kheish.runtime.dialects import TEXT_CHARACTERS, Rules
from kheish.runtime.drivers.base import Call, Message

NO_TEXT = "(No text; a message follows.)"
NO_RESULT = "The call has no result: it was not carried out."
EMPTY = "(empty)"
BEGIN = "(The conversation continues from here.)"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DEPTH = 64  # limit of arguments: encoders have limits, and templates too
_JSON = orjson.OPT_NON_STR_KEYS


def accept(messages: Sequence[Message], *, has_tools: bool, rules: Rules) -> tuple[Message, ...]:
    """Return the conversation as a server with these rules accepts it; an acceptable one remains unchanged."""
    cleaned = [_clean(message, rules) for message in messages]
    cleaned = _pair_results(cleaned)
    if rules.calls_as_text or (rules.calls_need_tools and not has_tools):
        cleaned = as_text(cleaned)
    else:
        cleaned = _rename_calls(cleaned, rules)
    if not rules.system:
        cleaned = [replace(one, role="user") if one.role == "system" else one for one in cleaned]
    if rules.alternates:
        cleaned = _alternating(cleaned)
    return tuple(_fill_empty(message) for message in cleaned)


def tool_name(name: str) -> str:
    """Return the name of a call as servers accept it: models add namespaces, and leave marks of templates."""
    if _NAME.fullmatch(name):
        return name
    plain = name.partition("<|")[0].strip()
    plain = plain.removeprefix("functions.").removeprefix("tools.")
    plain = _NOT_IN_NAME.sub("_", plain).strip("_")
    if not plain:
        return "unnamed"
    if not _NAME.match(plain):
        plain = "_" + plain
    return plain if len(plain) <= 64 else f"{plain[:55]}_{sha256(plain.encode()).hexdigest()[:8]}"


def plain_text(text: str) -> str:
    """Return the text without characters that JSON or a server's storage rejects: halves of surrogate pairs, NUL."""
    if len(text) > TEXT_CHARACTERS:
        text = f"{text[:TEXT_CHARACTERS]}\n[… {len(text) - TEXT_CHARACTERS} more characters]"
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _clean(message: Message, rules: Rules) -> Message:
    opaque = message.opaque if rules.opaque and message.role == "assistant" else None
    if message.is_clean and opaque is message.opaque:
        return message
    text = plain_text(message.text)
    calls = tuple(_clean_call(call) for call in message.calls)
    if text is message.text and opaque is message.opaque and _same(calls, message.calls):
        return message.found_clean()
    return replace(message, text=text, calls=calls, opaque=opaque)


def _same(new: Sequence[Call], old: Sequence[Call]) -> bool:
    return all(map(is_, new, old))


def _clean_call(call: Call) -> Call:
    name = tool_name(call.name)
    arguments, malformed = call.arguments, call.malformed
    if malformed is not None:
        arguments, malformed = {"malformed_arguments": plain_text(malformed)}, None
    arguments = _clean_arguments(arguments)
    if name == call.name and arguments is call.arguments and malformed is call.malformed:
        return call
    return replace(call, name=name, arguments=arguments, malformed=malformed)


def _clean_arguments(arguments: Any) -> dict[str, Any]:
    """Return arguments as a JSON object, of a depth that encoders and templates accept."""
    if isinstance(arguments, dict) and _is_plain(arguments, _DEPTH):
        return arguments
    cleaned = _plain_value(arguments, _DEPTH)
    return cleaned if isinstance(cleaned, dict) else {"value": cleaned}


def _is_plain(value: Any, depth: int) -> bool:
    if depth == 0:
        return False
    match value:
        case str():
            return plain_text(value) is value
        case None | bool() | float():
            return value == value and value not in (float("inf"), float("-inf"))
        case int():
            return -(2**53) <= value <= 2**53
        case dict():
            return all(isinstance(key, str) and plain_text(key) is key and _is_plain(item, depth - 1)
                       for key, item in value.items())  # fmt: skip
        case list():
            return all(_is_plain(item, depth - 1) for item in value)
    return False


def _plain_value(value: Any, depth: int) -> Any:
    if depth <= 1 and isinstance(value, dict | list | tuple):
        return "[nested too deeply]"
    match value:
        case str():
            return plain_text(value)
        case None | bool():
            return value
        case dict():
            return {plain_text(str(key)): _plain_value(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [_plain_value(item, depth - 1) for item in value]
    return value if _is_plain(value, 1) else plain_text(str(value))


def _pair_results(messages: Iterable[Message]) -> list[Message]:
    """Put each result right after its call; a call without one gets one, and a result without a call becomes text."""
    given = list(messages)
    used: set[int] = set()
    paired: list[Message] = []
    for at, message in enumerate(given):
        if message.role == "tool":
            if at not in used:
                paired.append(_tell_as_user(message, "The result of an earlier call:"))
            continue
        paired.append(message)
        if message.calls:
            results = _results(message.calls, given, at, used)
            paired += [results.get(number) or _missing(call) for number, call in enumerate(message.calls)]
    return paired


def _results(calls: Sequence[Call], given: Sequence[Message], at: int, taken: set[int]) -> Mapping[int, Message]:
    """Return the results of an answer's calls by number, up to the next answer that uses the same id."""
    if len(calls) == 1 and at + 1 < len(given) and at + 1 not in taken:  # the usual case
        message = given[at + 1]
        if message.role == "tool" and message.call_id == calls[0].id:
            taken.add(at + 1)
            return {0: message}
    places: dict[str | None, list[int]] = {}
    for number, call in enumerate(calls):
        places.setdefault(call.id, []).append(number)
    results: dict[int, Message] = {}
    for later in range(at + 1, len(given)):
        message = given[later]
        if not places:
            break
        for call in message.calls:
            places.pop(call.id, None)
        if message.role == "tool" and later not in taken and (numbers := places.get(message.call_id)):
            taken.add(later)
            results[numbers.pop(0)] = message
            if not numbers:
                del places[message.call_id]
    return results


def _missing(call: Call) -> Message:
    return Message(role="tool", text=NO_RESULT, call_id=call.id, is_error=True)


def as_text(messages: Sequence[Message]) -> list[Message]:
    """Return the conversation with its calls and results as text."""
    return [_as_text(message) for message in messages]


def _tell_as_user(message: Message, opening: str) -> Message:
    return Message(role="user", text=f"{opening}\n\n{message.text}")


def _as_text(message: Message) -> Message:
    """Return the message with its calls as text, for a server without roles for them."""
    if message.role == "tool":
        return _tell_as_user(message, "The result of the call:" if not message.is_error else "The call failed:")
    if not message.calls:
        return message
    lines = [f"[I called {call.name} with {_encoded(call.arguments)}]" for call in message.calls]
    return replace(message, text="\n".join(filter(None, [message.text, *lines])), calls=(), opaque=None)


def _encoded(arguments: Any) -> str:
    return orjson.dumps(arguments, option=_JSON).decode()


def _rename_calls(messages: Iterable[Message], rules: Rules) -> list[Message]:
    """Give each call a unique id that the server accepts, and its result the same id."""
    used: set[str] = set()
    renamed: list[Message] = []
    pending: list[str] = []
    for message in messages:
        if message.calls:
            calls = tuple(_with_id(call, used, rules) for call in message.calls)
            pending = [call.id for call in calls]
            if not _same(calls, message.calls):
                message = replace(message, calls=calls, opaque=_move_opaque(message, calls))
        elif message.role == "tool" and pending:
            id = pending.pop(0)  # results are in the order of their calls
            message = message if message.call_id == id else replace(message, call_id=id)
        renamed.append(message)
    return renamed


def _with_id(call: Call, used: set[str], rules: Rules) -> Call:
    id, attempt = call.id, 0
    while id in used or not rules.call_id.fullmatch(id):
        id = short_id(f"{call.id}\n{attempt}", rules.id_length)
        attempt += 1
    used.add(id)
    return call if id == call.id else replace(call, id=id)


def short_id(text: str, length: int) -> str:
    """Return an id of letters and digits, derived from the text."""
    number = int.from_bytes(sha256(text.encode("utf-8", "replace")).digest())
    letters = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        letters.append(_DIGITS[digit])
    return "".join(letters)


def _move_opaque(message: Message, calls: Sequence[Call]) -> Any:
    """Return the provider's block, with the data of each call under the call's new id."""
    opaque = message.opaque
    kept = opaque.get("calls") if isinstance(opaque, Mapping) else None
    if not isinstance(opaque, Mapping) or not isinstance(kept, Mapping) or not kept:
        return opaque
    pairs = zip(message.calls, calls, strict=True)
    return {**opaque, "calls": {new.id: kept[old.id] for old, new in pairs if old.id in kept}}


def _alternating(messages: Iterable[Message]) -> list[Message]:
    """Alternate users and assistants: neighbours of one role are joined, and an answer without text stands between a
    result and a user's message."""
    alternating: list[Message] = []
    for message in messages:
        last = alternating[-1] if alternating else None
        if last is None or last.role == "system":
            if message.role in ("assistant", "tool"):
                alternating.append(Message(role="user", text=BEGIN))
            alternating.append(message)
        elif message.role == "tool":
            alternating.append(message)
        elif message.role == "system":  # only the first of them
            _append_user(alternating, replace(message, role="user"))
        elif message.role == "user":
            _append_user(alternating, message)
        elif last.role == "assistant" and not last.calls:
            alternating[-1] = _join_answers(last, message)
        else:
            alternating.append(message)
    if alternating and alternating[-1].role in ("assistant", "system"):
        alternating.append(Message(role="user", text=BEGIN))
    return alternating


def _append_user(found: list[Message], message: Message) -> None:
    last = found[-1]
    if last.role == "user":
        text = "\n\n".join(filter(None, [last.text, message.text]))
        found[-1] = replace(last, text=text, _images=(*last.images, *message.images))
        return
    if last.role == "tool":  # a skill's text, a message or the next task: the run may have ended, or not
        found.append(Message(role="assistant", text=NO_TEXT))
    found.append(message)


def _join_answers(first: Message, second: Message) -> Message:
    """Return two answers as one. A signed block is valid for its own answer only, so only one of two can be kept."""
    text = "\n\n".join(filter(None, [first.text, second.text]))
    return replace(second, text=text, opaque=second.opaque if second.opaque is not None else first.opaque)


def _fill_empty(message: Message) -> Message:
    """Return the message with some text, because an empty one would be refused."""
    if message.calls or (message.text and not message.text.isspace()):
        return message
    return replace(message, text=EMPTY)
