"""Unified diffs: the changes of a patch to each file, and the resulting content. Works on text only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kheish.beneath import names
from kheish.domain import conventions
from kheish.domain.conventions import BOM, CRLF, LF, Line

MOST_FILES = 100
_HUNK = re.compile(r"@@ -([0-9]+)(?:,([0-9]+))? \+([0-9]+)(?:,([0-9]+))? @@")
_NOTHING = "/dev/null"
_MODE = re.compile(r"(old mode|new mode|new file mode|deleted file mode) ([0-9]{6})\s*$")
#: git's modes of regular files; links and submodules have others, and are no text
_MODES = {"100644": 0o644, "100755": 0o755}
_CANNOT = ("rename ", "copy ", "Binary files", "GIT binary patch")
_QUOTED = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}


class BadPatch(Exception):
    """A patch that cannot be read or does not fit; the message gives the place, for the author of the patch."""


@dataclass(frozen=True, slots=True)
class Change:
    """A line of a hunk: ` ` is kept, `-` removed, `+` added. `is_open`: it has no newline at its end."""

    tag: str
    text: bytes
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Hunk:
    """A run of lines to find from line `start` (from 1) on, and their changes."""

    start: int
    lines: tuple[Change, ...]

    @property
    def before(self) -> list[Change]:
        """The lines that must be in the file."""
        return [line for line in self.lines if line.tag != "+"]

    @property
    def after(self) -> list[Change]:
        """The lines after the change."""
        return [line for line in self.lines if line.tag != "-"]


@dataclass(frozen=True, slots=True)
class FilePatch:
    """The change of one file. `is_new`: it must not exist; `is_gone`: it is removed, with all of its content; `mode`:
    its new permissions, None to keep them."""

    path: str
    hunks: tuple[Hunk, ...] = ()
    is_new: bool = False
    is_gone: bool = False
    mode: int | None = None


def read(text: str) -> tuple[FilePatch, ...]:
    """Return the files of a patch, in its order. Raises BadPatch."""
    lines = _Lines(text)
    patches: dict[str, FilePatch] = {}
    for one in _files(lines):
        if one.path in patches:
            raise BadPatch(f"{one.path} occurs twice in the patch; put all its hunks under one header")
        patches[one.path] = one
    if not patches:
        raise BadPatch("it names no file: a unified diff has lines `--- a/path`, `+++ b/path` and `@@ … @@`")
    if len(patches) > MOST_FILES:
        raise BadPatch(f"it changes {len(patches)} files; at most {MOST_FILES} at once")
    return tuple(patches.values())


def read_with_text(text: str) -> Iterator[tuple[FilePatch, str]]:
    """Yield the files of a patch, each with its part of the text. Raises BadPatch."""
    lines = _Lines(text)
    begin = 0
    for one in _files(lines):
        yield one, "".join(f"{line}\n" for line in lines.lines[begin : lines.at])
        begin = lines.at


def apply(patch: FilePatch, content: bytes | None) -> bytes | None:
    """Return the file's new content, or None if it is removed. Raises BadPatch for a patch that does not fit."""
    if patch.is_new and content is not None:
        raise BadPatch(f"{patch.path}: the patch creates it, but it exists already")
    if content is None and not patch.is_new:
        raise BadPatch(f"{patch.path}: does not exist")
    has_mark = (content or b"").startswith(BOM)
    lines = conventions.split((content or b"").removeprefix(BOM))
    result: list[Line] = []
    at = 0
    for number, hunk in enumerate(patch.hunks, 1):
        hunk = _without_mark(hunk, has_mark)
        wanted = [_plain(line.text) for line in hunk.before]
        place = _find([text for text, _ in lines], wanted, hunk.start, at, f"{patch.path}: hunk {number}")
        result += lines[at:place]
        at = place + len(wanted)
        _append_hunk(result, hunk, lines[place:at], lines[at:])
        if at == len(lines):
            result = _with_final_newline(result, hunk, lines)
    result += lines[at:]
    if patch.is_gone and result:
        raise BadPatch(f"{patch.path}: the patch removes it, but it has more content than the patch")
    return None if patch.is_gone else (BOM if has_mark and result else b"") + conventions.joined(result)


def _plain(text: bytes) -> bytes:
    return text.removesuffix(b"\r")


def _without_mark(hunk: Hunk, has_mark: bool) -> Hunk:
    """Return the hunk without the byte order mark before its first line, if the file has the mark."""
    if not has_mark or hunk.start > 1:
        return hunk
    return replace(hunk, lines=tuple(replace(line, text=line.text.removeprefix(BOM)) for line in hunk.lines))


def _append_hunk(result: list[Line], hunk: Hunk, there: list[Line], rest: list[Line]) -> None:
    """Append the result of a hunk to the lines. A new line gets the line end of the line that it replaces."""
    # If every line of a patch ends in CRLF, only its transport is CRLF; if the patch mixes both, its line ends are
    # meant.
    kinds = {line.text.endswith(b"\r") for line in hunk.before}
    says = not hunk.before or False in kinds
    at = 0
    removed: list[bytes] = []
    for line in hunk.lines:
        if line.tag == "+":
            explicit = CRLF if says and line.text.endswith(b"\r") else b""
            end = explicit or (removed.pop(0) if removed else b"") or _nearest_end(result, [*there[at:], *rest])
            result.append((_plain(line.text), end))
            continue
        if line.tag == " ":
            result.append(there[at])
            removed = []
        else:
            removed.append(there[at][1])
        at += 1


def _nearest_end(before: list[Line], after: list[Line]) -> bytes:
    """Return the line end of the nearest line that has one."""
    if before and before[-1][1]:
        return before[-1][1]
    return next((end for _, end in [*after[:1], *before[:1]] if end), LF)


def _with_final_newline(result: list[Line], hunk: Hunk, lines: list[Line]) -> list[Line]:
    """Return the lines with the final newline set as the patch says, else as in the file."""
    closed = [(text, end or _nearest_end(result[:at], [])) for at, (text, end) in enumerate(result)]
    was_open = bool(lines) and not lines[-1][1]
    says_old = any(line.is_open for line in hunk.before)
    says_new = bool(hunk.after) and hunk.after[-1].is_open
    if closed and (says_new or (was_open and not says_old)):
        closed[-1] = (closed[-1][0], b"")
    return closed


def _find(lines: list[bytes], wanted: list[bytes], start: int, at: int, where: str) -> int:
    """Return the position of the lines: the one in the patch, else the only other match after the previous hunk."""
    if not wanted:
        place = start  # an insertion after line `start`
        if at <= place <= len(lines):
            return place
        raise BadPatch(f"{where} starts after line {start}, but the file has only {len(lines)} lines")
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
        raise BadPatch(f"{where} fits at several places (lines {listed})but not at line {start}; give more context")
    raise BadPatch(f"{where} does not fit: its lines are not in the file as written; read it again, and copy exactly")


# --- reading ----------------------------------------------------------------------------------------------------------


class _Lines:
    """A reader of a patch's lines, with its position."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        if self.lines and not self.lines[-1]:
            self.lines.pop()
        self.at = 0

    def peek(self) -> str | None:
        """Return the next line; None at the end."""
        return self.lines[self.at] if self.at < len(self.lines) else None

    def hunk(self) -> re.Match[str] | None:
        """Consume and return the header of the next hunk; None if there is none."""
        header = _HUNK.match(self.lines[self.at]) if self.at < len(self.lines) else None
        self.at += header is not None
        return header

    def next(self, what: str) -> str:
        if self.at >= len(self.lines):
            raise BadPatch(f"the patch ends in the middle of {what}")
        self.at += 1
        return self.lines[self.at - 1]

    def no_newline(self) -> bool:
        r"""Consume a marker `\ No newline at end of file`, and return whether it was there."""
        is_marker = self.at < len(self.lines) and self.lines[self.at].startswith("\\")
        self.at += is_marker
        return is_marker


@dataclass(frozen=True, slots=True)
class _Head:
    """The header lines that git writes before `---`, or instead of it for an empty file or a mere change of mode."""

    names: str = ""
    mode: int | None = None
    is_new: bool = False
    is_gone: bool = False

    def alone(self) -> Iterator[FilePatch]:
        if self.is_new or self.is_gone or self.mode is not None:
            yield FilePatch(_common_name(self.names), (), self.is_new, self.is_gone, self.mode)


def _files(lines: _Lines) -> Iterator[FilePatch]:
    head = _Head()
    while (line := lines.peek()) is not None:
        lines.at += 1
        if line.startswith("diff --git "):
            yield from head.alone()
            head = _Head(names=line.removeprefix("diff --git ").strip())
        elif (match := _MODE.match(line)) is not None:
            head = _with_mode(head, match[1], match[2], lines.at)
        elif line.startswith("--- "):
            new = lines.peek()
            if new is None or not new.startswith("+++ "):
                raise BadPatch(f"line {lines.at + 1}: after `{line}` a line `+++ …` must follow")
            lines.at += 1
            yield _file(lines, _named(line), _named(new), head)
            head = _Head()
        elif line.startswith(_CANNOT):
            raise BadPatch(f"line {lines.at}: {line[:60]!r}: only the text of files can be changed")
        elif line.startswith(("@@", "+", "-")):
            raise BadPatch(f"line {lines.at}: {line[:60]!r} is not a file header, which was expected here")
    yield from head.alone()


def _with_mode(head: _Head, what: str, mode: str, number: int) -> _Head:
    if mode not in _MODES:
        raise BadPatch(f"line {number}: mode {mode} is not a regular file's (100644, or 100755 if executable)")
    match what:
        case "new file mode":
            return replace(head, is_new=True, mode=_MODES[mode])
        case "deleted file mode":
            return replace(head, is_gone=True)
        case "new mode":
            return replace(head, mode=_MODES[mode])
    return head


def _named(line: str) -> str:
    """Return the name in a header line as git displays it."""
    text = line[4:].partition("\t")[0].strip()
    return _unquoted(text) if text.startswith('"') else text


def _unquoted(text: str) -> str:
    r"""Return a name without git's quotes and escapes: `"a/caf\303\251"`."""
    if len(text) < 2 or not text.endswith('"'):
        raise BadPatch(f"{text}: the quotes around the name are not closed")

    def meant(found: re.Match[bytes]) -> bytes:
        octal = found[1]
        return bytes([int(octal, 8) & 0xFF]) if len(octal) == 3 else _LETTERS.get(octal, octal)

    raw = _QUOTED.sub(meant, text[1:-1].encode())
    return names.shown(raw.decode("utf-8", "surrogateescape"))


def _common_name(text: str) -> str:
    """Return the name in `a/name b/name`. Raises BadPatch if the two names differ."""
    if text.startswith('"'):
        old, _, new = text.partition('" ')
        pair = _unquoted(f'{old}"'), _unquoted(new) if new.startswith('"') else new
    else:
        half = (len(text) - 1) // 2
        pair = text[:half], text[half + 1 :]
    if not pair[0].startswith("a/") or not pair[1].startswith("b/"):
        raise BadPatch(f"{text!r}: a header without one name `a/path b/path`")
    return _path(*pair)


def _file(lines: _Lines, old: str, new: str, head: _Head) -> FilePatch:
    path = _path(old, new)
    hunks = tuple(_hunks(lines, path))
    if not hunks and _NOTHING not in (old, new):
        raise BadPatch(f"{path}: no hunk (`@@ -1,3 +1,4 @@`) after its header")
    return FilePatch(path, hunks, is_new=old == _NOTHING, is_gone=new == _NOTHING, mode=head.mode)


def _path(old: str, new: str) -> str:
    if old == new == _NOTHING:
        raise BadPatch("a file that exists neither before nor after the patch")
    has_prefixes = (old == _NOTHING or old.startswith("a/")) and (new == _NOTHING or new.startswith("b/"))
    paths = {name[2:] if has_prefixes else name for name in (old, new) if name != _NOTHING}
    if len(paths) > 1:
        raise BadPatch(f"{old} and {new}: a file cannot change its name; remove the first and create the second")
    path = paths.pop()
    if not path:
        raise BadPatch("a header without a name")
    return path


def _hunks(lines: _Lines, path: str) -> Iterator[Hunk]:
    number = 0
    while (head := lines.hunk()) is not None:
        number += 1
        what = f"hunk {number} of {path}"
        remaining = {"-": int(head[2] or 1), "+": int(head[4] or 1)}
        changes: list[Change] = []
        while remaining["-"] > 0 or remaining["+"] > 0:
            line = lines.next(what)
            if line == "\r":  # an empty context line may have lost its leading blank
                line = " \r"
            tag, text = (line[:1] or " "), line[1:]
            if tag not in " +-" or (tag != "+" and not remaining["-"]) or (tag != "-" and not remaining["+"]):
                reason = f"by the numbers of its head `{head[0]}`"
                raise BadPatch(f"line {lines.at}: {line[:60]!r} does not belong to {what}, {reason}")
            changes.append(Change(tag, text.encode(), lines.no_newline()))
            remaining["-"] -= tag != "+"
            remaining["+"] -= tag != "-"
        yield Hunk(start=int(head[1]), lines=tuple(changes))
