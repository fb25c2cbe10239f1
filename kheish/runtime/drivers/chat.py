"""The chat-completions format: a Request as its JSON body, and chunks of an answer assembled into a Reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kheish.runtime.drivers import omitting
from kheish.runtime.drivers.base import Call, Message, ModelError, Reply, Request, Usage

_OPAQUE_PREFIXES = ("reasoning", "thinking")
_OPAQUE_KEYS = frozenset({"extra_content", "provider_specific_fields"})
_GROWING = frozenset({"text", "thinking", "summary", "data"})


def body(request: Request) -> dict[str, Any]:
    """The request body. A generation setting of null is left out, `stream_options: null` included."""
    if not request.model:
        raise ModelError("bad_request", f"the route {request.route_id!r} names no model")
    out: dict[str, Any] = {"stream_options": {"include_usage": True}} if request.stream else {}
    out |= request.generation
    out |= {"model": request.model, "messages": [_message(m, request.route_id) for m in request.messages]}
    if request.tools:
        out["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    out["stream"] = request.stream
    found = {key: value for key, value in out.items() if value is not None}
    return omitting.without(found, request.omit) if request.omit else found


def _message(message: Message, route_id: str) -> dict[str, Any]:
    match message.role:
        case "tool":
            return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
        case "assistant":
            return _assistant(message, route_id)
    return {"role": message.role, "content": message.text}


def _assistant(message: Message, route_id: str) -> dict[str, Any]:
    # Signed blocks mean something only to the server that made them, and `accepted` has left out those of others.
    # Older journals name the route alone.
    opaque = message.opaque if isinstance(message.opaque, Mapping) else {}
    mine = opaque if "server" in opaque or opaque.get("route") == route_id else {}
    out: dict[str, Any] = {"role": "assistant", "content": message.text or None, **mine.get("fields", {})}
    if message.calls:
        extra = mine.get("calls", {})
        out["tool_calls"] = [{**_call(call), **extra.get(call.id, {})} for call in message.calls]
    elif out["content"] is None:
        out["content"] = ""
    return out


def _call(call: Call) -> dict[str, Any]:
    # Chat templates of local servers parse the arguments again and answer 500 to what is no JSON, for ever after.
    arguments = call.arguments if call.malformed is None else {"malformed_arguments": call.malformed}
    function = {"name": call.name, "arguments": orjson.dumps(arguments).decode()}
    return {"id": call.id, "type": "function", "function": function}


class _Fragments:
    """A tool call on its way; `extra` is what the provider wants back with it (Gemini signs its calls)."""

    __slots__ = ("arguments", "extra", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.extra: dict[str, Any] = {}


class Assembly:
    """Takes chunks as dicts, in the order in which they come; a whole answer is one chunk."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, _Fragments] = {}
        self._at: dict[int, int] = {}  # the provider's index → the key in _calls
        self._opaque: dict[str, Any] = {}
        self._usage = Usage()
        self._model: str | None = None

    def feed(self, chunk: Any) -> str:
        """Take one chunk and return its text. Raises ModelError where it is not of this format."""
        try:
            return self._feed(chunk)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError("transport", f"the provider's answer is not in the chat format: {error}") from error

    def _feed(self, chunk: Any) -> str:
        if usage := chunk.get("usage"):
            self._usage = usage_of(usage)
        if self._model is None:
            self._model = chunk.get("model")
        choices = chunk.get("choices")
        if not choices:
            return ""
        choice = choices[0]
        if reason := choice.get("finish_reason"):
            self.finish_reason = str(reason)
        delta = choice.get("delta") or choice.get("message") or {}
        text = _text(delta.get("content"))
        if text:
            self._text.append(text)
        for key, value in delta.items():
            if value is not None and key not in ("content", "role"):
                self._other(key, value)
        return text

    def _other(self, key: str, value: Any) -> None:
        if key == "tool_calls":
            for position, fragment in enumerate(value):
                self._fragment(fragment, position)
        elif key == "refusal":
            self._refusal.append(_text(value))
        elif key in _OPAQUE_KEYS or key.startswith(_OPAQUE_PREFIXES):
            self._opaque[key] = _joined(self._opaque[key], value) if key in self._opaque else value

    def _fragment(self, fragment: Any, position: int) -> None:
        index = fragment.get("index")
        index = position if index is None else int(index)
        call = self._calls.get(self._at.get(index, -1))
        given = fragment.get("id") or ""
        # Some servers number every call 0: another id at the same index is another call.
        if call is None or (given and call.id and given != call.id):
            self._at[index] = len(self._calls)
            call = self._calls[self._at[index]] = _Fragments()
        call.id = call.id or given
        function = fragment.get("function") or {}
        call.name = call.name or function.get("name") or ""
        arguments = function.get("arguments")
        if arguments:
            call.arguments.append(arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode())
        for key, value in fragment.items():
            if value is not None and (key in _OPAQUE_KEYS or key.startswith(_OPAQUE_PREFIXES)):
                call.extra[key] = value

    def reply(self, request: Request) -> Reply:
        """The whole answer. Raises ModelError where it ended before the model had finished."""
        if self.finish_reason is None:
            raise ModelError("transport", "the stream ended before the answer was complete")
        calls, extra = self._finished_calls(request.answers)
        reason = self.finish_reason
        if calls and reason in ("stop", "function_call"):
            reason = "tool_calls"  # several local servers say stop
        refusal = "".join(self._refusal)
        if refusal and not self._text:
            reason = "refusal"
        opaque = {"route": request.route_id, "fields": self._opaque, "calls": extra}
        return Reply(
            text="".join(self._text) or refusal,
            calls=calls,
            finish_reason=reason,
            usage=self._usage,
            model=self._model,
            opaque=opaque if self._opaque or extra else None,
        )

    def _finished_calls(self, answers: int) -> tuple[tuple[Call, ...], dict[str, Any]]:
        calls: dict[str, Call] = {}
        extra: dict[str, Any] = {}
        for index, part in self._calls.items():
            id = part.id if part.id and part.id not in calls else f"call_{answers}_{index}"
            arguments, malformed = parse_arguments("".join(part.arguments))
            calls[id] = Call(id=id, name=part.name, arguments=arguments, malformed=malformed)
            if part.extra:
                extra[id] = part.extra
        return tuple(calls.values()), extra


def parse_arguments(raw: str) -> tuple[dict[str, Any], str | None]:
    """The arguments, and the raw text where it is no JSON object (nothing at all is an empty object)."""
    if not raw.strip():
        return {}, None
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}, raw
    return (value, None) if isinstance(value, dict) else ({}, raw)


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Tokens as OpenAI and its likes count them (DeepSeek has its own name for cached ones)."""
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0
    return Usage(
        input_tokens=int(usage.get("prompt_tokens") or 0),
        output_tokens=int(usage.get("completion_tokens") or 0),
        cached_tokens=int(cached),
    )


def _text(content: Any) -> str:
    """The text of a content field: a text, null, or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if part.get("type") == "text")
    text = str(content)
    # Half of a surrogate pair cannot be written to a file or sent on.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _joined(old: Any, new: Any) -> Any:
    """One opaque value from its fragments: texts grow, lists go on, objects take the newer keys."""
    match old, new:
        case str(), str():
            return old + new
        case list(), list():
            out = list(old)
            for item in new:
                if out and _continues(out[-1], item):
                    out[-1] = {**out[-1], **{k: _grown(k, out[-1].get(k), v) for k, v in item.items() if v is not None}}
                else:
                    out.append(item)
            return out
        case dict(), dict():
            return {**old, **{key: _joined(old[key], value) if key in old else value for key, value in new.items()}}
    return new


def _continues(last: Any, item: Any) -> bool:
    return (
        isinstance(last, dict)
        and isinstance(item, dict)
        and last.get("type") == item.get("type")
        and last.get("index") == item.get("index")
        and not last.get("signature")
    )


def _grown(key: str, old: Any, new: Any) -> Any:
    return old + new if key in _GROWING and isinstance(old, str) and isinstance(new, str) else new
