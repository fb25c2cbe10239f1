r"""Glob patterns over paths: `*`, `?` and `[…]` within a name, `**` over folders, `{a,b}` alternatives, `\` before a
literal character (`\xHH`: a byte).

A pattern with brackets may also be a literal name (`app/[id]`, as some frameworks call their folders). Patterns that
allow are read strictly, as globs. Patterns that deny, and those that search, are read loosely: as a glob, or with
brackets, braces and backslashes taken literally. This is pure text processing, in time that no pattern can extend.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise

MOST = 1024  # alternatives of a pattern
_STAR, _ANY = "*", "?"


class TooMany(ValueError):
    """The error that a pattern has too many alternatives."""


class Reach(IntEnum):
    """The relation of a pattern to a path: NO match, MAYBE something below it, YES the path or a folder above it."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class _Set:
    """A character of `[…]`."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def __contains__(self, character: str) -> bool:
        return any(first <= character <= last for first, last in self.ranges) is not self.negated


@dataclass(frozen=True, slots=True)
class _One:
    """A literal character."""

    character: str


#: a part of a name: `*`, `?`, a set, or a character
_Piece = str | _Set | _One
_Name = tuple[_Piece, ...]
#: a step of a path: the readings of a name, one of which must match, or None for `**`
Step = tuple[_Name, ...] | None
Steps = tuple[Step, ...]


@lru_cache(maxsize=4096)
def compiled(pattern: str, *, is_loose: bool, root: str = "") -> tuple[Steps, ...]:
    """Return the alternatives of a pattern, step by step. Without `/` it is a name at any depth; `src/` means
    everything in src. A pattern that begins with `root` is read from there. Raises TooMany."""
    if root and pattern.startswith(root.rstrip("/") + "/"):
        pattern = pattern[len(root.rstrip("/")) :]
    texts = expanded(pattern)
    if is_loose and texts != [pattern]:
        texts.append(pattern)  # a name may contain braces
    return tuple(_steps(text, is_loose) for text in texts)


def expanded(pattern: str, most: int = MOST) -> list[str]:
    """Return the pattern without braces, once for each alternative. Raises TooMany."""
    done: list[str] = []
    todo = [pattern]
    while todo:
        text = todo.pop()
        group = _braces(text)
        if group is None:
            done.append(text)
        else:
            start, commas, end = group
            edges = [start, *commas, end]
            todo += [text[:start] + text[a + 1 : b] + text[end + 1 :] for a, b in pairwise(edges)]
        if len(todo) + len(done) > most:
            raise TooMany(f"has more than {most} alternatives")
    return sorted(done)


def covers(alternatives: Sequence[Steps], names: Sequence[str]) -> bool:
    """Return whether a pattern matches the path itself; `src/**` matches everything in src, not src."""
    for steps in alternatives:
        states = _closed(steps, {0})
        before: set[int] = set()
        for name in names:
            before, states = states, _next(steps, states, name)
            if not states:
                break
        if len(steps) in states and (not steps or steps[-1] is not None or len(steps) - 1 in before):
            return True
    return False


def reach(alternatives: Sequence[Steps], names: Sequence[str]) -> Reach:
    """Return YES if a pattern matches the path or a folder above it, MAYBE if it may match something below."""
    best = Reach.NO
    for steps in alternatives:
        states = _closed(steps, {0})
        for name in names:
            if len(steps) in states:
                return Reach.YES
            states = _next(steps, states, name)
        if len(steps) in states:
            return Reach.YES
        best = max(best, Reach.MAYBE if states else Reach.NO)
    return best


def name(pattern: str) -> Step:
    """Return the pattern of a single name, read loosely."""
    return _readings(pattern, is_loose=True)


def matches(step: Step, name: str) -> bool:
    """Return whether a step matches a name."""
    return step is None or any(_fits(reading, name) for reading in step)


def has_wild(text: str) -> bool:
    """Return whether a text contains wildcards."""
    return any(character in text for character in "*?[")


def _steps(pattern: str, is_loose: bool) -> Steps:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if "/" not in pattern.rstrip("/"):
        parts.insert(0, "**")
    if pattern.endswith("/"):
        parts.append("**")
    parts = [part for at, part in enumerate(parts) if part != "**" or at == 0 or parts[at - 1] != "**"]
    return tuple(None if part == "**" else _readings(part, is_loose) for part in parts)


def _readings(part: str, is_loose: bool) -> tuple[_Name, ...]:
    readings = [tuple(_pieces(part))]
    if is_loose and any(character in part for character in "[\\"):
        readings.append(tuple(one if one in (_STAR, _ANY) else _One(one) for one in part))
    return tuple(readings)


def _pieces(part: str) -> Iterator[_Piece]:
    at, last = 0, part.rfind("]")
    while at < len(part):
        character = part[at]
        if character == "\\" and at + 1 < len(part):
            meant, at = _escape(part, at)
            yield from map(_One, meant)
        elif character == "[" and at < last and (found := _set(part, at)) is not None:
            piece, at = found
            yield piece
        else:
            yield character if character in (_STAR, _ANY) else _One(character)
            at += 1


def _escape(part: str, at: int) -> tuple[str, int]:
    """Return the text of an escape, and its end: bytes (`\\xc3\\xa9`), or the next character."""
    raw = bytearray()
    end = at
    while part[end : end + 2] == "\\x" and _is_hex(part[end + 2 : end + 4]):
        raw.append(int(part[end + 2 : end + 4], 16))
        end += 4
    return (os.fsdecode(bytes(raw)), end) if raw else (part[at + 1], at + 2)


_CLASS = re.compile(r"\[:([a-z]+):\]")
_DIGITS, _LOWER, _UPPER = ("0", "9"), ("a", "z"), ("A", "Z")
#: the character classes of bash for names, of ASCII
_CLASSES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "alnum": (_DIGITS, _LOWER, _UPPER),
    "alpha": (_LOWER, _UPPER),
    "digit": (_DIGITS,),
    "lower": (_LOWER,),
    "upper": (_UPPER,),
    "xdigit": (_DIGITS, ("a", "f"), ("A", "F")),
    "word": (_DIGITS, _LOWER, _UPPER, ("_", "_")),
}


def _is_hex(text: str) -> bool:
    return len(text) == 2 and all(character in "0123456789abcdefABCDEF" for character in text)


def _set(part: str, at: int) -> tuple[_Set, int] | None:
    """Return the set that begins at a bracket, and its end; None if it is not closed."""
    at += 1
    negated = part[at : at + 1] in ("!", "^")
    at += negated
    members: list[tuple[str, bool]] = []  # with whether it is escaped
    first = at
    classes: list[tuple[str, str]] = []
    while at < len(part) and (part[at] != "]" or at == first):
        if (named := _CLASS.match(part, at)) is not None and named[1] in _CLASSES:
            classes += _CLASSES[named[1]]
            at = named.end()
            continue
        escaped = part[at] == "\\" and at + 1 < len(part)
        at += escaped
        members.append((part[at], escaped))
        at += 1
    return (_Set((*_ranges(members), *classes), negated), at + 1) if at < len(part) else None


def _ranges(members: list[tuple[str, bool]]) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(members):
        if at + 2 < len(members) and members[at + 1] == ("-", False):
            yield members[at][0], members[at + 2][0]
            at += 3
        else:
            yield members[at][0], members[at][0]
            at += 1


def _fits(pieces: _Name, name: str) -> bool:
    """Return whether a name matches the pieces; on a mismatch the last `*` takes one character more."""
    at = piece = 0
    star = kept = -1
    while at < len(name):
        wanted = pieces[piece] if piece < len(pieces) else None
        if wanted == _STAR:
            star, kept, piece = piece, at, piece + 1
        elif wanted is not None and _is(wanted, name[at]):
            at, piece = at + 1, piece + 1
        elif star >= 0:
            kept += 1
            at, piece = kept, star + 1
        else:
            return False
    return all(rest == _STAR for rest in pieces[piece:])


def _is(wanted: _Piece, character: str) -> bool:
    if isinstance(wanted, _One):
        return wanted.character == character
    return wanted == _ANY or (isinstance(wanted, _Set) and character in wanted)


def _braces(text: str) -> tuple[int, list[int], int] | None:
    """Return the opening of the first innermost group of alternatives, its commas, and its closing."""
    start, commas, at = -1, list[int](), 0
    while at < len(text):
        match text[at]:
            case "\\":
                at += 1
            case "{":
                start, commas = at, []
            case ",":
                commas.append(at)
            case "}" if start >= 0:
                if commas:
                    return start, commas, at
                start = -1
        at += 1
    return None


def _next(steps: Steps, states: Iterable[int], name: str) -> set[int]:
    after = set()
    for at in states:
        if at < len(steps):
            step = steps[at]
            if step is None:
                after.add(at)
            elif matches(step, name):
                after.add(at + 1)
    return _closed(steps, after)


def _closed(steps: Steps, states: set[int]) -> set[int]:
    """Return the states together with those reached because `**` may be empty."""
    for at in sorted(states):
        while at < len(steps) and steps[at] is None:
            at += 1
            states.add(at)
    return states
