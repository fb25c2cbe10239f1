"""Assembly of an answer's documents into a Reply, lenient about the server's format.

Nothing of a document is trusted: a field may have any type, be missing, be repeated, or be cut anywhere. Meaningless
parts are dropped; a reported failure of the call raises ModelError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kheish.runtime.drivers import bounds, failures, growing, lenient, sayings
from kheish.runtime.drivers.base import Call, ModelError, Reply, Request, Usage
from kheish.runtime.drivers.calling import Calls

_CUT = "the stream ended before the answer was complete"
_CHARACTERS_PER_TOKEN = 4
_ALARMING = frozenset({"error", "errors", "base_resp"})
_ERRORS = ("error", "errors", "error_code", "detail", "error_msg")
_READ_ELSEWHERE = frozenset({"content", "role"})
#: llama-cpp-python sends each call in the format before tools as well
_TOLD_TWICE = _READ_ELSEWHERE | {"function_call"}


class Assembly:
    """The assembler of an answer's documents, in their order; a whole answer is one document."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._text: list[str] = []
        self._held = ""  # the beginning of a character, at the end of the text
        self._refusal: list[str] = []
        self._calls = Calls(request.answers)
        self._opaque = growing.Fields()
        self._usage: Usage | None = None
        self._model: str | None = None
        self._reason: str | None = None
        self._is_over = False
        self._kept = 0
        self._is_one = request.generation.get("n") in (None, 1)  # a server may spread one answer over several choices

    @property
    def is_blank(self) -> bool:
        """Return whether the answer ended without any content or reason: some servers fail so while they stream."""
        has_more = self._refusal or self._calls or self._opaque
        return self._reason is None and not has_more and not "".join(self._text).strip()

    def feed(self, document: Any) -> str:
        """Process one document and return its text. Raises ModelError if it reports a failure of the call."""
        if not isinstance(document, dict):
            document = next((one for one in document if isinstance(one, dict)), None) if _is_list(document) else None
            if document is None:
                raise ModelError("transport", "the provider's answer is not in the chat format")
        choices = document.get("choices")
        self._fail_on(document, has_choices=bool(choices))
        if isinstance(usage := _usage_in(document, choices), dict):
            self._usage = usage_of(usage) or self._usage
        if self._model is None and isinstance(document.get("model"), str):
            self._model = lenient.joined(document["model"][: bounds.NAME]) or None
        shown = ""
        for number, choice in enumerate(choices if isinstance(choices, list) else (choices,)):
            if isinstance(choice, dict) and (self._is_one or choice.get("index", number) == 0):
                shown += self._choice(choice)
        return shown

    def end(self) -> None:
        """Process the end of the answer: `[DONE]`, or a whole document."""
        self._is_over = True

    def _fail_on(self, document: Mapping[str, Any], *, has_choices: bool) -> None:
        if has_choices and not _ALARMING & document.keys():
            return
        base = document.get("base_resp")  # MiniMax: 200, and a status of its own
        has_failed = isinstance(base, dict) and base.get("status_code") not in (None, 0, "0")
        named = ("error", "errors") if has_choices else _ERRORS
        is_error = not has_choices and (
            "error" in (document.get("object"), document.get("type"))
            or (isinstance(document.get("message"), str) and "code" in document)
        )
        if has_failed or is_error or any(document.get(key) for key in named):
            raise failures.from_body(None, document, credential=self._request.credential, reply=self.so_far())

    def _choice(self, choice: Mapping[str, Any]) -> str:
        if choice.get("error"):  # OpenRouter
            raise failures.from_body(None, choice, credential=self._request.credential, reply=self.so_far())
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason.strip():
            reason = reason.strip()[:64].lower()
            self._reason = sayings.FINISH_REASONS.get(reason, lenient.joined(reason))
        delta = choice["delta"] if isinstance(choice.get("delta"), dict) else choice.get("message")
        if not isinstance(delta, dict):
            delta = {"content": choice.get("text")}
        passed_over = _TOLD_TWICE if delta.get("tool_calls") else _READ_ELSEWHERE
        for key, value in delta.items():
            if value is not None and key not in passed_over:
                self._other(str(key), value)
        return self._grow(text_of(delta.get("content")))

    def _grow(self, text: str) -> str:
        if not text:
            return ""
        self._keep(len(text))
        if text.isascii() and not self._held:
            self._text.append(text)
            return text
        shown, self._held = lenient.cut(self._held + text)
        shown = lenient.joined(shown)
        if shown:
            self._text.append(shown)
        return shown

    def _other(self, key: str, value: Any) -> None:
        if key == "tool_calls":
            self._keep(self._calls.feed(value))
        elif key == "function_call":  # the format before tools
            self._keep(self._calls.feed([{"index": 0, "function": value}]))
        elif key == "refusal":
            self._refusal.append(text_of(value))
            self._keep(len(self._refusal[-1]))
        elif growing.is_opaque(key):
            self._keep(self._opaque.add(key, value))

    def _keep(self, size: int) -> None:
        self._kept += size
        if self._kept > bounds.KEPT:
            raise ModelError("oversized", f"the answer is longer than {bounds.KEPT:,} characters", reply=self.partial())

    # --- the end ------------------------------------------------------------------------------------------------------

    def reply(self) -> Reply:
        """Return the whole answer. Raises ModelError if it ended before the model had finished."""
        reply = self.partial()
        if self._reason is None:
            cut = any(call.malformed is not None for call in reply.calls)
            if not self._is_over or cut:
                raise ModelError("transport", _CUT, reply=self.so_far())
        return reply

    def so_far(self) -> Reply | None:
        """Return the part of a failed answer that arrived; None without one, since no tokens are counted then."""
        return None if self.is_blank and self._usage is None else self.partial()

    def partial(self) -> Reply:
        """Return the answer so far."""
        calls, extra = self._calls.finished()
        text = "".join(self._text) + lenient.joined(self._held)
        refusal = lenient.joined("".join(self._refusal))
        reason = self._reason or "stop"
        if calls and reason in ("stop", "function_call"):
            reason = "tool_calls"  # several local servers say stop
        if refusal and not text.strip() and not calls:
            reason = "refusal"
        fields = self._opaque.joined()
        opaque = {"route": self._request.route_id, "fields": fields, "calls": extra} if fields or extra else None
        if lenient.is_deep(opaque):
            opaque = None
        return Reply(
            text=text if text.strip() else refusal or text,
            calls=calls,
            left_out=self._calls.left_out,
            finish_reason=reason,
            usage=self._usage or estimated(self._request, text, calls),
            model=self._model,
            opaque=opaque,
        )


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def text_of(content: Any, depth: int = 0) -> str:
    """Return the text of a content field: a text, null, or a list of parts, without reasoning."""
    match content:
        case str():
            return content
        case list() if depth < 4:
            return "".join(text_of(part, depth + 1) for part in content)
        case dict() if content.get("type") in (None, "text", "output_text", "refusal"):
            return text_of(content.get("text") or content.get("refusal"), depth + 1)
    return ""


def _usage_in(document: Mapping[str, Any], choices: Any) -> Any:
    """Return the usage from where servers put it: at the top, in `x_groq`, or in the choice (Moonshot)."""
    if usage := document.get("usage"):
        return usage
    if isinstance(groq := document.get("x_groq"), dict) and groq.get("usage"):
        return groq["usage"]
    first = choices[0] if isinstance(choices, list) and choices else None
    return first.get("usage") if isinstance(first, dict) else None


def usage_of(usage: Mapping[str, Any]) -> Usage | None:
    """Return the tokens as OpenAI, Anthropic, DeepSeek and Moonshot name them; None without counts."""
    details = usage.get("prompt_tokens_details")
    places = (details, usage) if isinstance(details, dict) else (usage,)
    names = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
    read = _tokens(usage.get("prompt_tokens")) or _tokens(usage.get("input_tokens"))
    written = _tokens(usage.get("completion_tokens")) or _tokens(usage.get("output_tokens"))
    cached = next((count for place in places for name in names if (count := _tokens(place.get(name)))), 0)
    if not read and not written:
        return None
    return Usage(input_tokens=max(read, cached), output_tokens=written, cached_tokens=cached)


def _tokens(value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return int(min(number, bounds.TOKENS)) if math.isfinite(number) and number > 0 else 0


def estimated(request: Request, text: str, calls: Sequence[Call]) -> Usage:
    """Estimate the tokens by the characters, for a server that reports none."""
    sent = sum(len(message.text) + sum(_size(call) for call in message.calls) for message in request.messages)
    sent += sum(len(tool.name) + len(tool.description) + len(orjson.dumps(tool.parameters)) for tool in request.tools)
    written = len(text) + sum(_size(call) for call in calls)
    return Usage(
        input_tokens=-(-sent // _CHARACTERS_PER_TOKEN),
        output_tokens=-(-written // _CHARACTERS_PER_TOKEN),
        estimated=True,
    )


def _size(call: Call) -> int:
    return len(call.name) + len(call.malformed or orjson.dumps(call.arguments, default=str))
