"""Prompts of an editor as texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from acp.exceptions import RequestError
from acp.schema import EmbeddedResourceContentBlock, ResourceContentBlock, TextContentBlock


def text(blocks: Iterable[Any]) -> str:
    """Return the task of a prompt. Raises RequestError for images and sounds, which are not announced as supported."""
    parts: list[str] = []
    for block in blocks:
        match block:
            case TextContentBlock():
                parts.append(block.text)
            case ResourceContentBlock():
                parts.append(_path(block.uri))
            case EmbeddedResourceContentBlock():
                inner: Any = block.resource
                content = getattr(inner, "text", None)
                if content is None:
                    raise RequestError(-32602, f"{inner.uri} is not a text.")
                parts.append(f"\n\n{_path(inner.uri)}:\n\n{content}\n\n")
            case _:
                raise RequestError(-32602, f"Blocks of type {block.type} are not supported; send texts and files.")
    return "".join(parts).strip()


def _path(uri: str) -> str:
    return uri.removeprefix("file://")
