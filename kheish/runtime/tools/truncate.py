"""Truncation of texts that are too long for a model, always with a note of the omission."""

from __future__ import annotations


def line(text: str, limit: int, *, more: int = 0) -> str:
    """Return one line, at most `limit` characters of it; `more` bytes of it were already omitted."""
    left_out = max(len(text) - limit, 0) + more
    return f"{text[:limit]} … [{left_out} more characters of this line]" if left_out else text


def middle(text: str, limit: int, *, advice: str = "") -> str:
    """Return head and tail of `text`, together at most about `limit` bytes of UTF-8, broken at lines if possible.

    The end gets two thirds: errors and summaries stand there. `advice` describes how to get the rest.
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    head_size = limit // 3
    head = raw[:head_size].decode("utf-8", "ignore")
    tail = raw[len(raw) - (limit - head_size) :].decode("utf-8", "ignore")
    head = head[: head.rfind("\n") + 1] or head
    newline = tail.find("\n")
    tail = tail[newline + 1 :] if 0 <= newline < len(tail) - 1 else tail
    left_out = len(raw) - len(head.encode()) - len(tail.encode())
    note = f"[… {left_out} bytes left out of {len(raw)}{'; ' + advice if advice else ''} …]"
    return f"{head.rstrip(chr(10))}\n{note}\n{tail}"
