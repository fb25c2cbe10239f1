"""The result of a call as text for a model: texts as they are, everything else described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from kheish.runtime.tools import truncate
from kheish.runtime.tools.base import Result

_BYTES = 64 * 1024
_DETAIL = 8 * 1024
_ADVICE = "ask the tool for less"


def of(result: Mapping[str, Any], where: Mapping[str, Any]) -> Result:
    """Return the result of `tools/call`, given as plain data; `where` names server and tool."""
    content = [one for one in result.get("content") or () if isinstance(one, Mapping)]
    texts = [text for one in content if (text := _text(one))]
    structured = result.get("structuredContent")
    if structured is not None and not texts:
        texts = [orjson.dumps(structured).decode()]
    text = "\n\n".join(texts) or "(The tool returned nothing.)"
    detail = {**where, "parts": _parts(content)}
    if structured is not None and len(raw := orjson.dumps(structured)) <= _DETAIL:
        detail["structured"] = orjson.loads(raw)
    return Result(
        content=truncate.middle(text, _BYTES, advice=_ADVICE), is_error=bool(result.get("isError")), detail=detail
    )


def _text(one: Mapping[str, Any]) -> str:
    match one:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "image" | "audio" as kind, "data": str(data), "mimeType": str(mime)}:
            return f"[{kind}: {mime}, {_size(data)} bytes, which cannot be shown here]"
        case {"type": "resource_link", "uri": str(uri)}:
            more = "".join(f", {one[key]}" for key in ("mimeType", "description") if one.get(key))
            return f"[resource: {one.get('name') or uri} ({uri}{more})]"
        case {"type": "resource", "resource": {"uri": str(uri), "text": str(text)}}:
            return f"[resource {uri}]\n{text}"
        case {"type": "resource", "resource": {"uri": str(uri), "blob": str(blob)}}:
            return f"[resource {uri}: {_size(blob)} bytes, which cannot be shown here]"
    return orjson.dumps(one).decode()


def _size(data: str) -> int:
    """Return the number of bytes that base64 stands for."""
    return len(data) * 3 // 4 - data[-2:].count("=")


def _parts(content: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return list(_described(content[:50]))


def _described(content: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in content:
        part: dict[str, Any] = {"type": one.get("type")}
        inner = one.get("resource") if isinstance(one.get("resource"), Mapping) else one
        assert isinstance(inner, Mapping)
        part |= {key: str(inner[key])[:500] for key in ("uri", "mimeType") if inner.get(key)}
        yield part


def resource(result: Mapping[str, Any], where: Mapping[str, Any]) -> Result:
    """Return the result of `resources/read`, given as plain data."""
    contents = [{"type": "resource", "resource": one} for one in result.get("contents") or ()]
    return of({"content": contents}, where)


def prompt(result: Mapping[str, Any], where: Mapping[str, Any]) -> Result:
    """Return the result of `prompts/get`, given as plain data: its messages, each with its role."""
    messages = [one for one in result.get("messages") or () if isinstance(one, Mapping)]
    blocks = [one.get("content") for one in messages]
    texts = [f"{one.get('role')}: {_text(block)}" for one, block in zip(messages, blocks, strict=True)
             if isinstance(block, Mapping)]  # fmt: skip
    about = [str(result["description"])] if result.get("description") else []
    text = "\n\n".join([*about, *texts]) or "(The prompt is empty.)"
    return Result(content=truncate.middle(text, _BYTES, advice=_ADVICE), detail=dict(where))
