"""Servers that are as strict as the real ones: each dialect's rules about roles, names, ids and fields, and a window.

`faults(dialect, body)` lists what a server would refuse. `Strict` is a default for the stand-in: it refuses by these
rules with the real servers' words, counts tokens in a way of its own, refuses what is over its window, and otherwise
talks: long and short, in several scripts, with reasoning, and with calls that are named, numbered and written as no
server should. Its counts and its answers follow from the request alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.openai_standin import Answer, Behaviour, Failure, ToolCall

_PIECES = re.compile(r"[A-Za-z]{1,5}|[0-9]{1,2}|[^\sA-Za-z0-9]|\s{2,}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KNOWN = {"role", "content", "tool_calls", "tool_call_id", "name"}


def count(body: Mapping[str, Any]) -> int:
    """The tokens of a prompt, as this server counts them."""
    texts = [json.dumps(body.get("tools") or [], ensure_ascii=False)]
    for message in body["messages"]:
        texts += [message.get("content") or "", json.dumps(message.get("tool_calls") or [], ensure_ascii=False)]
    return sum(len(_PIECES.findall(text)) for text in texts) + 5 * len(body["messages"])


# --- rules ------------------------------------------------------------------------------------------------------------


def _openai(body: Mapping[str, Any]) -> Iterator[str]:
    """What OpenAI and everyone else refuses."""
    open_calls: list[str] = []
    for at, message in enumerate(body["messages"]):
        role, content, calls = message["role"], message.get("content"), message.get("tool_calls") or []
        if role not in ("system", "user", "assistant", "tool"):
            yield f"messages[{at}].role: {role}"
        if unknown := set(message) - _KNOWN:
            yield f"messages[{at}]: unknown fields {sorted(unknown)}"
        if content is None and not calls:
            yield f"messages[{at}].content: null"
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                yield f"messages[{at}]: 'tool' must be a response to a preceding message with 'tool_calls'"
            else:
                open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            yield f"messages[{at}]: tool_call_ids did not have response messages: {open_calls}"
        open_calls = [call["id"] for call in calls]
        if len(set(open_calls)) < len(open_calls):
            yield f"messages[{at}]: duplicate ids {open_calls}"
        for call in calls:
            yield from _call(at, call)
    if open_calls:
        yield f"tool_call_ids did not have response messages: {open_calls}"


def _call(at: int, call: Mapping[str, Any]) -> Iterator[str]:
    if not _NAME.fullmatch(call["function"]["name"]):
        yield f"messages[{at}].tool_calls[0].function.name: {call['function']['name']!r}"
    if not 1 <= len(call["id"]) <= 40:
        yield f"messages[{at}].tool_calls[0].id: string too long: {call['id']!r}"
    if not isinstance(json.loads(call["function"]["arguments"]), dict):
        yield f"messages[{at}].tool_calls[0].function.arguments: no object"


def _mistral(body: Mapping[str, Any]) -> Iterator[str]:
    yield from _openai(body)
    before = "system"
    for message in body["messages"]:
        role = message["role"]
        if (before, role) in {("tool", "user"), ("user", "tool"), ("user", "user"), ("assistant", "assistant")}:
            yield f"Unexpected role '{role}' after role '{before}'"
        before = role
        for call in message.get("tool_calls") or []:
            if not re.fullmatch(r"[A-Za-z0-9]{9}", call["id"]):
                yield f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."
    if before not in ("user", "tool"):
        yield f"Expected last role User or Tool for serving but got {before}"


def _gemma(body: Mapping[str, Any]) -> Iterator[str]:
    yield from _openai(body)
    for at, message in enumerate(body["messages"]):
        if message["role"] != ("user" if at % 2 == 0 else "assistant"):
            yield "Conversation roles must alternate user/assistant/user/assistant/..."
        if message.get("tool_calls"):
            yield "tool calls are not supported"


def _gemini(body: Mapping[str, Any]) -> Iterator[str]:
    yield from _openai(body)
    before = "user"
    for message in body["messages"]:
        if not (message.get("content") or "").strip() and not message.get("tool_calls"):
            yield "Unable to submit request because it must have a text parameter."
        for call in message.get("tool_calls") or []:
            if before not in ("user", "tool"):
                yield "Please ensure that function call turn comes immediately after a user turn."
            if not re.match(r"[A-Za-z_]", call["function"]["name"]):
                yield "Invalid function name. Must start with a letter or an underscore."
        before = message["role"]


def _anthropic(body: Mapping[str, Any]) -> Iterator[str]:
    yield from _openai(body)
    seen: set[str] = set()
    roles = [message["role"] for message in body["messages"] if message["role"] != "system"]
    if roles[:1] != ["user"]:
        yield "messages: first message must use the user role"
    for message in body["messages"]:
        if not (message.get("content") or "").strip() and not message.get("tool_calls"):
            yield "messages: text content blocks must be non-empty"
        for call in message.get("tool_calls") or []:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", call["id"]) or call["id"] in seen:
                yield f"tool_use ids must be unique and match '^[a-zA-Z0-9_-]+$': {call['id']}"
            seen.add(call["id"])
            if not body.get("tools"):
                yield "requests which include tool_use blocks must define tools"


RULES: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "openai": _openai,
    "mistral": _mistral,
    "gemma": _gemma,
    "gemini": _gemini,
    "anthropic": _anthropic,
}


def faults(dialect: str, body: Mapping[str, Any]) -> list[str]:
    """What a server of this dialect refuses in the request."""
    return list(RULES[dialect](body))


# --- the server -------------------------------------------------------------------------------------------------------

_ODD_NAMES = ("list_files", "functions.list_files", "list_files<|channel|>commentary", "", "no such tool", "9lives")
_TALK = (
    "All of it is as it should be. ",
    "def check(value): return {'value': value[0]}\n",
    "今天一切都很好\N{IDEOGRAPHIC FULL STOP}",
    "Всё в порядке. ",
)


@dataclass
class Strict:
    """A talking server with a dialect and a window; `refused` has a fault of each request that it refused."""

    dialect: str
    window: int
    refused: list[str] = field(default_factory=list)
    too_long: int = 0
    summaries: int = 0
    answered: int = 0
    says_window: bool = True  # in the words of its refusal
    cuts_streams: bool = False  # where it should say that a prompt is too long

    def __call__(self, body: Any) -> Behaviour:
        prompt = count(body)
        if prompt > self.window - 16:
            self.too_long += 1
            if self.cuts_streams and body["stream"]:
                return Answer(break_after=0)
            numbers = f"maximum context length is {self.window} tokens. However, you requested {prompt} tokens"
            words = f"This model's {numbers}." if self.says_window else "The prompt is too long."
            return Failure(status=400, code="context_length_exceeded", message=words)
        if found := faults(self.dialect, body):
            self.refused.append(found[0])
            return Failure(status=400, message=found[0])
        self.answered += 1
        return self._answer(body, prompt)

    def _answer(self, body: Any, prompt: int) -> Answer:
        last = body["messages"][-1]
        text = last["content"] or ""
        number = self.answered
        if "Summarise the conversation" in text:
            self.summaries += 1
            if self.summaries % 7 == 3:
                return Answer(text="", calls=(ToolCall(name="list_files"),), usage=(prompt, 5, 0), chunks=1)
            return Answer(text=f"Summary {self.summaries}: tasks were done. " * 8, usage=(prompt, 60, 0), chunks=1)
        is_result = last["role"] == "tool" or "The result of the call:" in text or "The call failed:" in text
        if number % 3 == 0 and body.get("tools") and not is_result:
            odd = _ODD_NAMES[number % len(_ODD_NAMES)]
            id = f"call_{number}_" + "x" * (number % 50)
            calls = (ToolCall(name=odd, id=id, arguments="{}" if number % 2 else '{"path": '),)
            return Answer(text="", calls=calls, usage=(prompt, 9, 0), reasoning="Hm." if number % 2 else None, chunks=1)
        talk = _TALK[number % len(_TALK)] * (1 + number * 7 % 23)
        return Answer(text=talk, usage=(prompt, len(talk) // 4, 0), chunks=1)
