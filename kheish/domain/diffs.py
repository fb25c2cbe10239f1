"""Unified diffs as the daemon writes them: made from two contents, taken apart by file, undone byte by byte."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from kheish.domain import patches
from kheish.domain.patches import BadPatch, Change, FilePatch

#: difflib takes seconds above
MOST_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a diff that is about one file: its text, and what it says."""

    text: str
    patch: FilePatch


def unified(path: str, before: bytes | None, after: bytes | None) -> str | None:
    """Return a unified diff; None where a content is binary or too long to compare. `None`: there is no file."""
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
    """The lines with their ends. Only a line feed ends one: what else Python takes for an end stands within lines."""
    lines = content.decode("utf-8", "replace").split("\n")
    return [f"{line}\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def pieces(diff: str) -> dict[str, Piece]:
    """Return what a diff says of each file, by path; empty where it cannot be read, because a part was left out."""
    try:
        return {patch.path: Piece(text, patch) for patch, text in patches.read_with_text(diff)}
    except BadPatch:
        return {}


def undone(patch: FilePatch, after: bytes) -> bytes | None:
    """Return the content before a patch, from the one after it; None where the patch was not applied to it.

    Exact to the byte, unlike `patches.apply`, which is lenient with what a model wrote.
    """
    lines = after.split(b"\n")
    there = [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
    found: list[bytes] = []
    at = shift = 0
    for hunk in patch.hunks:
        old, new = [_raw(line) for line in hunk.before], [_raw(line) for line in hunk.after]
        # A head counts from 1, but names the line before where it has no lines of its own.
        start = hunk.start + shift + (not old) - 1
        if start < at or there[start : start + len(new)] != new:
            return None
        found += [*there[at:start], *old]
        at, shift = start + len(new), shift + len(new) - len(old)
    return b"".join([*found, *there[at:]])


def _raw(line: Change) -> bytes:
    return line.text if line.is_open else line.text + b"\n"
