"""The names of spans and attributes by OpenTelemetry's conventions for generative AI, which are in development.

This is the only module that has them. Attributes of Kheish itself begin with `kheish.`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kheish.auth import redaction
from kheish.domain.events import Spilled
from kheish.runtime.traces.span import Value

#: characters of a text in an attribute
_MOST = 16_000


def agent_name() -> str:
    """Return the name of a run's span."""
    return "invoke_agent"


def chat_name(model: str | None) -> str:
    """Return the name of a model call's span."""
    return f"chat {model}" if model else "chat"


def tool_name(tool: str) -> str:
    """Return the name of a tool call's span."""
    return f"execute_tool {tool}"


def agent(run_id: str, session_id: str, submitted: Mapping[str, Any]) -> dict[str, Value]:
    """Return the attributes of a run."""
    settings = submitted.get("settings") or {}
    found: dict[str, Value] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.conversation.id": session_id,
        "kheish.run.id": run_id,
        "kheish.run.kind": str(submitted.get("run_kind", "")),
        "kheish.route": str(settings.get("route", "")),
    }
    optional = {
        "gen_ai.request.model": settings.get("model"),
        "gen_ai.agent.name": (settings.get("persona") or {}).get("id"),
        "kheish.project": settings.get("project"),
        "kheish.flow.id": (submitted.get("flow") or {}).get("flow_id"),
    }
    return found | {name: str(value) for name, value in optional.items() if value}


def request(event: Mapping[str, Any]) -> dict[str, Value]:
    """Return the attributes of a model call that are known before its answer."""
    found: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "kheish.route": event["route"],
        "kheish.turn": event["turn"],
        "kheish.attempt": event["attempt"],
        "kheish.purpose": event.get("purpose", "turn"),
    }
    return found | ({"gen_ai.request.model": event["model"]} if event.get("model") else {})


def response(event: Mapping[str, Any]) -> dict[str, Value]:
    """Return the attributes of a model's answer, or of the part before its failure."""
    usage = event.get("usage") or {}
    found: dict[str, Value] = {
        "gen_ai.usage.input_tokens": usage.get("input_tokens", 0),
        "gen_ai.usage.output_tokens": usage.get("output_tokens", 0),
    }
    if usage.get("cached_tokens"):
        found["gen_ai.usage.cache_read.input_tokens"] = usage["cached_tokens"]
    if usage.get("cost_usd") is not None:
        found["kheish.cost_usd"] = usage["cost_usd"]
    if event.get("model"):
        found["gen_ai.response.model"] = event["model"]
    if event.get("finish_reason"):
        found["gen_ai.response.finish_reasons"] = (event["finish_reason"],)
    return found


def tool(event: Mapping[str, Any]) -> dict[str, Value]:
    """Return the attributes of a tool call."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": event["tool"],
        "gen_ai.tool.call.id": event["call_id"],
        "gen_ai.tool.type": "function",
        "kheish.tool.effect": event.get("effect", ""),
    }


def failure(kind: str) -> dict[str, Value]:
    """Return the attribute of a failure."""
    return {"error.type": kind}


# --- content ----------------------------------------------------------------------------------------------------------


def task(submitted: Mapping[str, Any]) -> dict[str, Value]:
    """Return the content of a task."""
    request = submitted.get("request")
    items = request.get("items") or () if isinstance(request, dict) else ()
    parts = [{"type": "text", "content": _text(item.get("text"))} for item in items if item.get("text")]
    return {"gen_ai.input.messages": _json([{"role": "user", "parts": parts}])} if parts else {}


def answer(event: Mapping[str, Any]) -> dict[str, Value]:
    """Return the content of an answer."""
    parts: list[Any] = [{"type": "text", "content": _text(event["text"])}] if event.get("text") else []
    calls = event.get("calls") or ()
    parts += [{"type": "tool_call", "id": one["id"], "name": one["name"], "arguments": one.get("arguments")}
              for one in calls if isinstance(one, dict) and "id" in one]  # fmt: skip
    message = {"role": "assistant", "parts": parts, "finish_reason": event.get("finish_reason", "")}
    return {"gen_ai.output.messages": _json([message])}


def arguments(event: Mapping[str, Any]) -> dict[str, Value]:
    """Return the arguments of a tool call."""
    return {"gen_ai.tool.call.arguments": _json(event.get("arguments"))}


def result(event: Mapping[str, Any]) -> dict[str, Value]:
    """Return the result of a tool call."""
    return {"gen_ai.tool.call.result": redaction.shapes(_text(event.get("content")))[:_MOST]}


def _json(value: Any) -> str:
    return redaction.shapes(json.dumps(value, ensure_ascii=False))[:_MOST]


def _text(value: Any) -> str:
    """Return a text of a journal line; of one that was spilled, its beginning."""
    if isinstance(value, dict):
        return str(value.get("preview", ""))
    return value.preview if isinstance(value, Spilled) else str(value or "")
