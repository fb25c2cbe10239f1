"""The `scripted` driver: answers from a route's script, offline and deterministic.

The turn is `request.answers`, so that a restart continues where the journal stands. The script comes as plain data
(`kheish.domain.scripts.Script` has checked it); nothing is parsed again here, since benchmarks run on this driver.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kheish import ids
from kheish.jobs import confined, patterns
from kheish.runtime.drivers import failures
from kheish.runtime.drivers.base import Call, ModelError, Reply, Request, Usage

_CHARACTERS_PER_TOKEN = 4
_REPEATS = re.compile(r"[*+{]")  # without repetitions, a search is fast whatever the text
_SECONDS = 5.0
_PATTERNS = confined.Pool("patterns")
_PLACE = re.compile(r"\{\{\s*(input|last_result)\s*\}\}")


class ScriptedDriver:
    """A stateless driver; `settings["script"]` is the script as a dict."""

    async def complete(self, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Return the script's answer for this turn. Raises ModelError, also if the script specifies a failure."""
        turn = turn_of(await _part(_script(request), request), request.answers)
        values = {"input": _input(request), "last_result": _last_result(request)}
        await _check_expectation(turn, values["last_result"], request.answers)
        delay = turn.get("delay")
        seconds = ids.duration(delay) if delay else 0.0
        if error := turn.get("error"):
            if seconds:
                await asyncio.sleep(seconds)
            raise _error(error)
        text = filled(turn.get("text") or "", values)
        await _stream(text, (turn.get("chunks") or 1) if request.stream else 1, seconds, on_delta)
        calls = tuple(
            Call(id=f"call_{request.answers}_{index}", name=call["name"], arguments=_arguments(call, values))
            for index, call in enumerate(turn.get("tool_calls") or ())
        )
        return Reply(
            text=text,
            calls=calls,
            finish_reason="tool_calls" if calls else "stop",
            usage=_usage(turn.get("usage"), request, text, calls),
            model=request.model or "scripted",
        )

    async def prepare(self) -> None:
        """Do nothing: there is nothing to import."""

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


def turn_of(script: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Return the turn for answer `number` (from 0). Raises ModelError after the last turn if the script says `fail`."""
    if script.get("echo"):
        return {"text": "{{input}}"}
    turns = script["turns"]
    if number < len(turns):
        turn: Mapping[str, Any] = turns[number]
        return turn
    if script.get("after_last") == "fail":
        raise ModelError("refused", f"the script has {len(turns)} turns, and the run asks for number {number + 1}")
    # Only the text: repeating the last calls would never end.
    texts = (turn["text"] for turn in reversed(turns) if turn.get("text") is not None)
    return {"text": next(texts, "")}


def _script(request: Request) -> Mapping[str, Any]:
    script = request.settings.get("script")
    if not isinstance(script, Mapping):
        raise ModelError("refused", f"the route {request.route_id!r} has no script")
    return script


async def _part(script: Mapping[str, Any], request: Request) -> Mapping[str, Any]:
    """Return the turns for this run. Raises ModelError if no part matches its instructions."""
    if not script.get("parts"):
        return script
    instructions = next((message.text for message in request.messages if message.role == "system"), "")
    for part in script["parts"]:
        if await _matches(part["prompt"], instructions):
            return {**script, "turns": part["turns"]}
    raise ModelError("refused", "no part of the script fits the instructions of this run")


def _input(request: Request) -> str:
    return next((message.text for message in reversed(request.messages) if message.role == "user"), "")


def _last_result(request: Request) -> str:
    """Return the last tool result since the last user message, else that message: older results are irrelevant."""
    for message in reversed(request.messages):
        if message.role in ("tool", "user"):
            return message.text
    return request.messages[-1].text if request.messages else ""


async def _matches(pattern: str, text: str) -> bool:
    """Return whether a script's pattern is found in a text. Raises ModelError if that takes too long."""
    if not _REPEATS.search(pattern):
        return re.search(pattern, text) is not None
    try:
        return bool(await _PATTERNS.call(patterns.found, pattern, text, seconds=_SECONDS))
    except (confined.Overdue, confined.Failed) as error:
        raise ModelError("refused", f"the pattern {pattern!r} takes too long over this text; simplify it") from error


async def _check_expectation(turn: Mapping[str, Any], last: str, number: int) -> None:
    expected = turn.get("expect")
    if expected and not await _matches(expected, last):
        shown = last if len(last) <= 200 else last[:200] + "…"
        raise ModelError("refused", f"turn {number + 1} of the script expects {expected!r}, and got: {shown}")


def _error(error: Mapping[str, Any]) -> ModelError:
    status, code = error["status"], error.get("code")
    message = error.get("message") or f"the script fails this call with status {status}"
    failure = failures.from_body(status, {"message": message, "code": code})
    failure.retry_after = error.get("retry_after")
    return failure


async def _stream(text: str, chunks: int, seconds: float, on_delta: Callable[[str], None]) -> None:
    if not text and seconds:
        await asyncio.sleep(seconds)
    for piece in pieces(text, chunks):
        if seconds:
            await asyncio.sleep(seconds)
        on_delta(piece)


def pieces(text: str, count: int) -> Iterator[str]:
    """Yield `text` in `count` parts whose lengths differ by at most one; fewer parts if it has fewer characters."""
    count = min(count, len(text))
    for index in range(count):
        yield text[index * len(text) // count : (index + 1) * len(text) // count]


def _arguments(call: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    return {key: filled(value, values) for key, value in (call.get("arguments") or {}).items()}


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """Return `value` with `{{input}}` and `{{last_result}}` replaced in all of its texts (keys remain unchanged)."""
    match value:
        case str():
            # In one pass, so that a placeholder within a result remains unchanged.
            return _PLACE.sub(lambda found: values[found[1]], value) if "{{" in value else value
        case dict():
            return {key: filled(item, values) for key, item in value.items()}
        case list() | tuple():
            return [filled(item, values) for item in value]
    return value


def _usage(usage: Mapping[str, Any] | None, request: Request, text: str, calls: tuple[Call, ...]) -> Usage:
    if usage is not None:
        return Usage(**usage)
    read = sum(len(message.text) for message in request.messages)
    written = len(text) + sum(len(str(call.arguments)) + len(call.name) for call in calls)
    return Usage(input_tokens=-(-read // _CHARACTERS_PER_TOKEN), output_tokens=-(-written // _CHARACTERS_PER_TOKEN))
