"""The chat-completions format: a Request as its JSON body. The module `answer` reads the response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kheish.runtime.drivers import omitting
from kheish.runtime.drivers.base import Call, Message, ModelError, Request


def body(request: Request) -> dict[str, Any]:
    """Return the request body. Generation settings of null are omitted, including `stream_options: null`."""
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
    fields = {key: value for key, value in out.items() if value is not None}
    return omitting.without(fields, request.omit) if request.omit else fields


def _message(message: Message, route_id: str) -> dict[str, Any]:
    match message.role:
        case "tool":
            return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
        case "assistant":
            return _assistant(message, route_id)
    return {"role": message.role, "content": _parts(message) if message.images else message.text}


def _parts(message: Message) -> list[dict[str, Any]]:
    """Return a text with its images."""
    images = [f"data:{one.media_type};base64,{one.data}" for one in message.images]
    return [{"type": "text", "text": message.text}, *({"type": "image_url", "image_url": {"url": u}} for u in images)]


def _assistant(message: Message, route_id: str) -> dict[str, Any]:
    # Signed blocks are valid only for the server that made them, and `accepted` has removed those of others. Older
    # journals name the route only.
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
    # Chat templates of local servers parse the arguments again, and answer 500 to invalid JSON on every later request.
    arguments = call.arguments if call.malformed is None else {"malformed_arguments": call.malformed}
    function = {"name": call.name, "arguments": orjson.dumps(arguments).decode()}
    return {"id": call.id, "type": "function", "function": function}
