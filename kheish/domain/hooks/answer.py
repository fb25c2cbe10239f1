"""Answers of hooks: the output of a command, a response or a model, read as a decision; and decisions put together."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kheish.domain.events import changed, frozen
from kheish.domain.hooks.moments import MOMENTS
from kheish.domain.hooks.wire import MOST

Decision = Literal["allow", "ask", "deny"]
#: the exit status that refuses
BLOCKS = 2
#: levels of nesting that an answer may have
DEPTH = 64
_DIGITS = 20
_SURROGATES = re.compile("[\ud800-\udfff]")
_STRICTNESS: Mapping[str | None, int] = {None: 0, "allow": 1, "ask": 2, "deny": 3}
_CHOICES: Mapping[str, Decision] = {
    "allow": "allow", "approve": "allow", "ask": "ask", "defer": "ask", "deny": "deny", "block": "deny",
}  # fmt: skip


@frozen
class Answer:
    """The answer of one hook."""

    decision: Decision | None = None
    reason: str | None = None
    context: str | None = None
    system_message: str | None = None
    stop_reason: str | None = None  # not None: `continue: false`
    updated_input: dict[str, Any] | None = None
    updated_output: str | None = None
    retry: bool = False
    action: str | None = None  # for an elicitation: accept, decline or cancel
    content: dict[str, Any] | None = None
    is_object: bool = False  # it was given as JSON


class Unreadable(ValueError):
    """An output that begins like an object, and is none that a journal can hold."""


def of_output(moment: str, stdout: str, stderr: str, status: int) -> Answer:
    """Return the answer of a command. JSON is honoured on any exit status, from stdout or, without it, from stderr.
    Raises Unreadable."""
    stdout, stderr = plain(stdout), plain(stderr)
    given = _object(stdout)
    if given is None and not stdout.strip():
        try:
            given = _object(stderr)
        except Unreadable:
            given = None
    answer = of_object(moment, given) if given is not None else Answer()
    about = MOMENTS[moment]
    if given is None and about.takes_text and status == 0 and stdout.strip():
        answer = _with(answer, context=cut(stdout.strip()))
    if status == BLOCKS:
        reason = answer.reason or cut(stderr.strip()) or answer.system_message or "it gave no reason"
        if about.blocks or moment in ("post_tool_use", "post_tool_use_failure"):
            answer = _with(answer, decision="deny", reason=reason)
    if answer.decision in ("ask", "deny") and answer.reason is None:
        text = "" if _looks_like_object(stderr) else cut(stderr.strip())
        answer = _with(answer, reason=text or answer.system_message)
    return answer


def of_object(moment: str, given: Mapping[str, Any]) -> Answer:
    """Return the answer that an object has. Fields of a wrong type are ignored."""
    inner = given.get("hookSpecificOutput")
    own: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    asked = own.get("decision")
    request: Mapping[str, Any] = asked if isinstance(asked, dict) else {}
    chosen = (own.get("permissionDecision"), request.get("behavior"), given.get("decision"))
    decision = next((choice for one in chosen if (choice := _choice(one)) is not None), None)
    reason = own.get("permissionDecisionReason") or request.get("message") or given.get("reason")
    updated = own.get("updatedInput", request.get("updatedInput"))
    output = own.get("updatedToolOutput", own.get("updatedMCPToolOutput"))
    stops = given.get("continue") is False or request.get("interrupt") is True
    action = own.get("action")
    content = own.get("content")
    return Answer(
        decision="deny" if action == "decline" and decision is None else decision,
        reason=_text(reason),
        context=_text(own.get("additionalContext") or given.get("additionalContext")),
        system_message=_text(given.get("systemMessage")),
        stop_reason=(_text(given.get("stopReason")) or _text(reason) or "a hook stopped it") if stops else None,
        updated_input=updated if isinstance(updated, dict) else None,
        updated_output=None if output is None else cut(output if isinstance(output, str) else json.dumps(output)),
        retry=own.get("retry") is True,
        action=action if action in ("accept", "decline", "cancel") else None,
        content=content if isinstance(content, dict) else None,
        is_object=True,
    )


def of_model(text: str) -> Answer:
    """Return the answer of a model: `{"ok": bool, "reason"}`, also within a fence or a sentence. Raises Unreadable."""
    text = plain(text)
    start, end = text.find("{"), text.rfind("}")
    given = _object(text[start : end + 1]) if 0 <= start < end else None
    if given is None or not isinstance(given.get("ok"), bool):
        raise Unreadable('the model did not answer {"ok": true} or {"ok": false, "reason": "…"}')
    if given["ok"]:
        return Answer()
    return Answer(decision="deny", reason=_text(given.get("reason")) or "the model gave no reason")


def _choice(value: Any) -> Decision | None:
    return _CHOICES.get(value) if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    return cut(value) if isinstance(value, str) and value else None


def cut(text: str) -> str:
    """Return a text within the length that a hook may give."""
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def plain(text: str) -> str:
    """Return a text without lone surrogates, which no journal can hold: half an emoji is what a program writes as JSON
    that has cut a text in two."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _looks_like_object(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("{")


def _object(text: str) -> dict[str, Any] | None:
    """Return the object that a text is; None for a text that does not begin like one. Raises Unreadable."""
    if not _looks_like_object(text):
        return None
    written = text.lstrip("\ufeff \t\r\n")
    if _depth(written) > DEPTH:
        raise Unreadable(f"its output is nested more than {DEPTH} levels deep")
    try:
        value = json.loads(written, parse_constant=_refuse, parse_int=_whole, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its output begins with {{ and is no JSON: {plain(str(error)[:200])}") from error
    return _plain(value) if isinstance(value, dict) else None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS or not -(1 << 63) <= (number := int(digits)) < 1 << 64:
        raise ValueError(f"{digits[:_DIGITS]}… is too large a number")
    return number


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits[:_DIGITS]} is too large a number")
    return number


def _depth(text: str) -> int:
    """Return how deep objects and lists are nested, without parsing them."""
    deepest = level = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            escaped, in_string = character == "\\" and not escaped, not (character == '"' and not escaped)
        elif character == '"':
            in_string = True
        elif character in "{[":
            level += 1
            deepest = max(deepest, level)
        elif character in "}]":
            level -= 1
    return deepest


def _with(answer: Answer, **fields: Any) -> Answer:
    return changed(answer, **fields)


def strictest(decisions: Sequence[Decision | None]) -> Decision | None:
    """Return the strictest of several decisions."""
    return max(decisions, key=lambda one: _STRICTNESS[one], default=None)
