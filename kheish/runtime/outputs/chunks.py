"""Texts in parts of at most so many characters: split between paragraphs, else lines, else words; a code fence that is
split is closed and opened again."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$")
#: characters that closing and opening a fence may take
_FENCE_ROOM = 80


def split(text: str, most: int) -> list[str]:
    """Return the parts of a Markdown text, each of at most `most` characters; the same text gives the same parts."""
    if len(text) <= most:
        return [text]
    parts: list[str] = []
    rest, fence = text, ""
    while rest:
        head = f"{fence}\n" if fence else ""
        if len(head) + len(rest) <= most:
            parts.append(head + rest)
            break
        piece = _first(rest, most - len(head) - _FENCE_ROOM)
        rest = rest[len(piece) :]
        fence_after = _open_fence(head + piece)
        closing = f"\n{_marks(fence_after)}" if fence_after else ""
        parts.append((head + piece).rstrip("\n") + closing)
        fence = fence_after
        if not fence:
            rest = rest.lstrip("\n")
    return parts


def _first(text: str, most: int) -> str:
    """Return the beginning of a longer text, up to the best border."""
    window = text[:most]
    for border in ("\n\n", "\n", " "):
        at = window.rfind(border)
        if at >= most // 3:
            return text[: at + len(border)]
    return window


def _open_fence(text: str) -> str:
    """Return the line that opened the fence in which a text ends; empty outside of fences."""
    opened = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found is None:
            continue
        if not opened:
            opened = line[:_FENCE_ROOM]
        elif found[1].startswith(_marks(opened)) and not found[2].strip():
            opened = ""
    return opened


def _marks(fence: str) -> str:
    found = _FENCE.match(fence)
    return found[1] if found is not None else "```"
