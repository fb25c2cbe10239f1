"""Unified diffs written by the daemon: made from two contents, split by file, and reversed byte by byte."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from kheish.domain.patches import patch as patches
from kheish.domain.patches.patch import BadPatch, Change, FilePatch

#: above this, difflib takes seconds
MOST_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a diff for one file: its text, and its content."""

    text: str
    patch: FilePatch


def unified(path: str, before: bytes | None, after: bytes | None) -> str | None:
    """Return a unified diff, or None if a content is binary or too long to compare. A content of None is an absent
    file."""
    old, new = _lines(before or b""), _lines(after or b"")
    if b"\0" in (before or b"") or b"\0" in (after or b"") or len(old) + len(new) > MOST_LINES:
        return None
    source = "/dev/null" if before is None else f"a/{path}"
    parts = [
        part if part.endswith("\n") else f"{part}\n\\ No newline at end of file\n"
        for part in difflib.unified_diff(old, new, source, "/dev/null" if after is None else f"b/{path}")
    ]
    return "".join(parts)


def _lines(content: bytes) -> list[str]:
    """Return the lines with their ends. Only a line feed ends a line, not the other characters that Python splits
    at."""
    lines = content.decode("utf-8", "replace").split("\n")
    return [f"{line}\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def pieces(diff: str) -> dict[str, Piece]:
    """Return the parts of a diff by path; empty for a diff that cannot be read because it was cut."""
    try:
        return {patch.path: Piece(text, patch) for patch, text in patches.read_with_text(diff)}
    except BadPatch:
        return {}


def undone(patch: FilePatch, after: bytes) -> bytes | None:
    """Return the content before a patch from the content after it; None if the patch was not applied to that content.

    Exact to the byte, unlike `patches.apply`, which tolerates a model's inaccuracies.
    """
    lines = after.split(b"\n")
    there = [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
    pieces_before: list[bytes] = []
    at = shift = 0
    for hunk in patch.hunks:
        old, new = [_raw(line) for line in hunk.before], [_raw(line) for line in hunk.after]
        # A hunk header counts from 1, but an empty range is given by the line before it.
        start = hunk.start + shift + (not old) - 1
        if start < at or there[start : start + len(new)] != new:
            return None
        pieces_before += [*there[at:start], *old]
        at, shift = start + len(new), shift + len(new) - len(old)
    return b"".join([*pieces_before, *there[at:]])


def _raw(line: Change) -> bytes:
    return line.text if line.is_open else line.text + b"\n"
