"""Requests, answers and failures of drivers as JSON documents, for the pipe to a driver process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish.runtime.drivers.base import Call, Image, Message, ModelError, Reply, Request, ToolSpec, Usage

Document = dict[str, Any]

_ERROR = ("kind", "message", "status", "retry_after", "window", "prompt_tokens", "field")


def of_request(request: Request) -> Document:
    """Return a request as a document; it holds the credential."""
    return {
        "route_id": request.route_id,
        "model": request.model,
        "messages": [_of_message(message) for message in request.messages],
        "tools": [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in request.tools
        ],
        "generation": request.generation,
        "answers": request.answers,
        "settings": request.settings,
        "credential": request.credential,
        "stream": request.stream,
        "omit": sorted(request.omit),
    }


def to_request(document: Mapping[str, Any]) -> Request:
    """Return the request of a document."""
    fields = dict(document)
    fields["messages"] = tuple(_to_message(message) for message in document["messages"])
    fields["tools"] = tuple(ToolSpec(**tool) for tool in document["tools"])
    fields["omit"] = frozenset(document["omit"])
    return Request(**fields)


def _of_message(message: Message) -> Document:
    """Return a message without the fields that have their defaults: a history has thousands of messages."""
    document: Document = {"role": message.role, "text": message.text}
    if message.calls:
        document["calls"] = [_of_call(call) for call in message.calls]
    if message.call_id is not None:
        document["call_id"] = message.call_id
    if message.is_error:
        document["is_error"] = True
    if message.opaque is not None:
        document["opaque"] = message.opaque
    if message.images:
        document["_images"] = [{"media_type": image.media_type, "data": image.data} for image in message.images]
    return document


def _to_message(document: Mapping[str, Any]) -> Message:
    fields = dict(document)
    fields["calls"] = _to_calls(document.get("calls", ()))
    fields["_images"] = tuple(Image(**image) for image in document.get("_images", ()))
    return Message(**fields)


def _of_call(call: Call) -> Document:
    return {"id": call.id, "name": call.name, "arguments": call.arguments, "malformed": call.malformed}


def _to_calls(documents: Any) -> tuple[Call, ...]:
    return tuple(Call(**call) for call in documents)


def of_reply(reply: Reply) -> Document:
    """Return an answer as a document."""
    usage = reply.usage
    return {
        "text": reply.text,
        "calls": [_of_call(call) for call in reply.calls],
        "left_out": reply.left_out,
        "finish_reason": reply.finish_reason,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
            "estimated": usage.estimated,
        },
        "model": reply.model,
        "opaque": reply.opaque,
        "cost_usd": reply.cost_usd,
    }


def to_reply(document: Mapping[str, Any]) -> Reply:
    """Return the answer of a document."""
    return Reply(**{**document, "calls": _to_calls(document["calls"]), "usage": Usage(**document["usage"])})


def of_error(error: ModelError) -> Document:
    """Return a failure as a document, with the part of the answer before it."""
    reply = of_reply(error.reply) if error.reply is not None else None
    return {**{name: getattr(error, name) for name in _ERROR}, "reply": reply}


def to_error(document: Mapping[str, Any]) -> ModelError:
    """Return the failure of a document."""
    fields = dict(document)
    reply = fields.pop("reply")
    return ModelError(
        fields.pop("kind"), fields.pop("message"), reply=to_reply(reply) if reply is not None else None, **fields
    )
