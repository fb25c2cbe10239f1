"""Unified diffs: what a patch says of each file, and what a file's content becomes by it. Pure text work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_FILES = 100
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NOTHING = "/dev/null"


class BadPatch(Exception):
    """The patch cannot be read, or does not fit; the text says where, for who wrote it."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that are to be found from line `start` (from 1) on, and what stands there afterwards; with their ends."""

    start: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FilePatch:
    """What happens to one file. `is_new`: it must not be there; `is_gone`: it is removed, with all that it holds."""

    path: str
    hunks: tuple[Hunk, ...]
    is_new: bool = False
    is_gone: bool = False


def read(text: str) -> tuple[FilePatch, ...]:
    """The files of a patch, in its order. Raises BadPatch."""
    lines = _Lines(text)
    found: dict[str, FilePatch] = {}
    while (old := lines.header("--- ")) is not None:
        new = lines.header("+++ ")
        if new is None:
            raise BadPatch(f"line {lines.at}: after `--- {old}` a line `+++ …` must follow")
        one = _file(lines, old, new)
        if one.path in found:
            raise BadPatch(f"{one.path} stands in the patch twice; put all its hunks under one header")
        found[one.path] = one
    if not found:
        raise BadPatch("there is no file in it: a unified diff has lines `--- a/path`, `+++ b/path` and `@@ … @@`")
    if len(found) > MOST_FILES:
        raise BadPatch(f"it changes {len(found)} files; at most {MOST_FILES} at once")
    return tuple(found.values())


def apply(patch: FilePatch, content: bytes | None) -> bytes | None:
    """The file's new content; None where it is removed. Raises BadPatch where the patch does not fit."""
    if patch.is_new and content is not None:
        raise BadPatch(f"{patch.path}: the patch makes it, but it is there already")
    if content is None and not patch.is_new:
        raise BadPatch(f"{patch.path}: does not exist")
    lines = _split(content or b"")
    has_crlf = b"\r\n" in (content or b"")
    result: list[bytes] = []
    at = 0
    for number, hunk in enumerate(patch.hunks, 1):
        before, after = hunk.before, hunk.after
        if has_crlf and not any(line.endswith(b"\r\n") for line in (*before, *after)):
            # Models write \n; the file keeps the line ends that it has.
            before, after = tuple(map(_crlf, before)), tuple(map(_crlf, after))
        place = _find(lines, before, hunk.start, at, f"{patch.path}: hunk {number}")
        result += lines[at:place]
        result += after
        at = place + len(before)
    result += lines[at:]
    if patch.is_gone and result:
        raise BadPatch(f"{patch.path}: the patch removes it, but it holds more than the patch says")
    return None if patch.is_gone else b"".join(result)


def _find(lines: list[bytes], before: tuple[bytes, ...], start: int, at: int, where: str) -> int:
    """Where the lines stand: where the patch says, else at the one other place after the hunk before."""
    if not before:
        place = start  # an insertion after line `start`
        if at <= place <= len(lines):
            return place
        raise BadPatch(f"{where} stands after line {start}, and the file has {len(lines)} lines")
    wanted = list(before)
    if start - 1 >= at and lines[start - 1 : start - 1 + len(wanted)] == wanted:
        return start - 1
    places = [
        place
        for place in range(at, len(lines) - len(wanted) + 1)
        if lines[place] == wanted[0] and lines[place : place + len(wanted)] == wanted
    ]
    if len(places) == 1:
        return places[0]
    if places:
        listed = ", ".join(str(place + 1) for place in places[:5])
        raise BadPatch(f"{where} fits at several places (lines {listed}), and not at line {start}; give more context")
    raise BadPatch(f"{where} does not fit: its lines are not in the file as written; read it again, and copy exactly")


def _split(content: bytes) -> list[bytes]:
    """Lines by `\\n` alone: a `\\r` in a line stays in it."""
    pieces = content.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def _crlf(line: bytes) -> bytes:
    return line[:-1] + b"\r\n" if line.endswith(b"\n") else line


# --- reading ----------------------------------------------------------------------------------------------------------


class _Lines:
    """The lines of a patch, and how far they were read."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        if self.lines and not self.lines[-1]:
            self.lines.pop()
        self.at = 0

    def header(self, mark: str) -> str | None:
        """The name in the next header line; what git writes before it is passed over. None at the end."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if line.startswith(mark):
                return line[len(mark) :].partition("\t")[0].strip()
            if line.startswith(("rename ", "copy ", "Binary files", "GIT binary patch", "old mode", "new mode")):
                raise BadPatch(f"line {self.at}: {line[:60]!r}: only the text of files can be changed")
            if line.startswith(("@@", "+", "-")):
                raise BadPatch(f"line {self.at}: {line[:60]!r} stands where a file's header was expected")
        return None

    def hunk(self) -> re.Match[str] | None:
        """The head of the next hunk, if there is one here."""
        found = _HUNK.match(self.lines[self.at]) if self.at < len(self.lines) else None
        self.at += found is not None
        return found

    def next(self, what: str) -> str:
        if self.at >= len(self.lines):
            raise BadPatch(f"the patch ends in the middle of {what}")
        self.at += 1
        return self.lines[self.at - 1]

    def no_newline(self) -> bool:
        """Whether the line before has no newline at its end."""
        there = self.at < len(self.lines) and self.lines[self.at].startswith("\\")
        self.at += there
        return there


def _file(lines: _Lines, old: str, new: str) -> FilePatch:
    path = _path(old, new)
    hunks = tuple(_hunks(lines, path))
    if not hunks and _NOTHING not in (old, new):
        raise BadPatch(f"{path}: there is no hunk (`@@ -1,3 +1,4 @@`) after its header")
    return FilePatch(path=path, hunks=hunks, is_new=old == _NOTHING, is_gone=new == _NOTHING)


def _path(old: str, new: str) -> str:
    if any(name.startswith('"') for name in (old, new)):
        raise BadPatch(f"{old}: quoted names are not read; write the name as it is")
    if old == new == _NOTHING:
        raise BadPatch("a file that is neither there before nor afterwards")
    has_prefixes = (old == _NOTHING or old.startswith("a/")) and (new == _NOTHING or new.startswith("b/"))
    names = {name[2:] if has_prefixes else name for name in (old, new) if name != _NOTHING}
    if len(names) > 1:
        raise BadPatch(f"{old} and {new}: a file cannot change its name; remove the one and make the other")
    path = names.pop()
    if not path:
        raise BadPatch("a header without a name")
    return path


def _hunks(lines: _Lines, path: str) -> Iterator[Hunk]:
    number = 0
    while (head := lines.hunk()) is not None:
        number += 1
        what = f"hunk {number} of {path}"
        left = {"-": int(head[2] or 1), "+": int(head[4] or 1)}
        before: list[bytes] = []
        after: list[bytes] = []
        while left["-"] > 0 or left["+"] > 0:
            line = lines.next(what)
            tag, text = (line[:1] or " "), line[1:]  # an empty context line may have lost its blank
            if tag not in " +-" or (tag != "+" and not left["-"]) or (tag != "-" and not left["+"]):
                said = f"by the numbers of its head `{head[0]}`"
                raise BadPatch(f"line {lines.at}: {line[:60]!r} does not belong into {what}, {said}")
            raw = text.encode() + (b"" if lines.no_newline() else b"\n")
            if tag != "+":
                before.append(raw)
                left["-"] -= 1
            if tag != "-":
                after.append(raw)
                left["+"] -= 1
        yield Hunk(start=int(head[1]), before=tuple(before), after=tuple(after))
