"""Changing files: `write_file` and `edit_file`, each an atomic replace."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from kheish.beneath import files, walk
from kheish.beneath.walk import Intent, Place
from kheish.domain import conventions
from kheish.domain.patches import diffs
from kheish.errors import NotBeneath, NotThere
from kheish.runtime.tools import truncate, workspace
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError

_DIFF_BYTES = 48 * 1024
_LOOKED_AT = 8192  # bytes; a NUL in them marks a binary file
_NUMBERED = re.compile(r"^ *[0-9]+\t", re.MULTILINE)

_Path = Annotated[str, Field(description="Path of the file, relative to the workspace (or absolute inside it).")]
_Expected = Annotated[
    str | None,
    Field(
        pattern=r"^[0-9a-fA-F]{12,64}$",
        description=(
            "Refuse if the file's sha256 is another: all 64 hex digits or the first 12 or more, as read_file shows "
            "them. Leave out to change the file whatever it holds."
        ),
    ),
]


class WriteFile(Arguments):
    path: _Path
    content: str = Field(description="The whole new content.")
    expected_sha256: _Expected = None


class EditFile(Arguments):
    path: _Path
    old_string: str = Field(
        min_length=1,
        description="Text to replace, exactly as in the file, white space included, without line numbers.",
    )
    new_string: str = Field(description="Text to put in its place.")
    replace_all: bool = Field(False, description="Replace every occurrence; else old_string must occur exactly once.")
    expected_sha256: _Expected = None


@dataclass(frozen=True, slots=True)
class _Change:
    path: str
    before: bytes | None
    after: bytes
    count: int = 1


async def _write(arguments: WriteFile, context: Context) -> Result:
    return await workspace.work(context, _write_now, arguments, context)


def _write_now(arguments: WriteFile, context: Context) -> Result:
    after = _encoded(arguments.content)
    with walk.place(context.door, arguments.path, Intent.CREATE) as here:
        before = files.contents(here)
        # First of all: a call that is repeated after a crash must find its own work done, not a mismatch.
        if before == after:
            return Result(
                content=f"{here.path} already holds exactly this content.",
                detail=_detail(here.path, before, after),
            )
        expect(arguments.expected_sha256, before, here.path)
        files.replace(here, after, key=context.key)
        path = here.path
    lines = after.count(b"\n") + (not after.endswith(b"\n") and bool(after))
    was = "new file" if before is None else "replaced"
    return Result(
        content=f"Wrote {path} ({was}; {lines} lines, {len(after)} bytes; sha256 {digest(after)[:12]}).",
        detail=_detail(path, before, after),
    )


async def _plan_write(arguments: WriteFile, context: Context) -> Mapping[str, Any]:
    change = await workspace.work(context, _compute_write, arguments, context)
    return {"path": change.path, "before": digest_or_none(change.before), "after": digest(change.after)}


async def _preview_write(arguments: WriteFile, context: Context) -> str | None:
    change = await workspace.work(context, _compute_write, arguments, context)
    expect(arguments.expected_sha256, change.before, change.path)
    return diffs.unified(change.path, change.before, change.after)


def _compute_write(arguments: WriteFile, context: Context) -> _Change:
    """Return the current and the new content; no file is written, and no folder created."""
    after = _encoded(arguments.content)
    try:
        with walk.place(context.door, arguments.path, Intent.EDIT) as here:
            return _Change(here.path, files.contents(here), after)
    except NotThere:
        return _Change(walk.resolved(context.door, arguments.path), None, after)


async def _plan_edit(arguments: EditFile, context: Context) -> Mapping[str, Any]:
    return await workspace.work(context, _plan_now, arguments, context)


def _plan_now(arguments: EditFile, context: Context) -> Mapping[str, Any]:
    with walk.place(context.door, arguments.path, Intent.EDIT) as here:
        change = _compute_edit(arguments, here)
        return {"path": here.path, "before": digest_or_none(change.before), "after": digest(change.after)}


async def _preview_edit(arguments: EditFile, context: Context) -> str | None:
    return await workspace.work(context, _previewed, arguments, context)


def _previewed(arguments: EditFile, context: Context) -> str | None:
    with walk.place(context.door, arguments.path, Intent.EDIT) as here:
        change = _compute_edit(arguments, here)
        return diffs.unified(change.path, change.before, change.after)


async def _edit(arguments: EditFile, context: Context) -> Result:
    return await workspace.work(context, _edit_now, arguments, context)


def _edit_now(arguments: EditFile, context: Context) -> Result:
    with walk.place(context.door, arguments.path, Intent.EDIT) as here:
        change = _compute_edit(arguments, here)
        planned = context.note.get("before")
        # Recovery compares with the recorded digests; an edit of other content would invalidate them.
        if planned is not None and planned != digest_or_none(change.before):
            raise ToolError(f"{here.path}: another process changed it at the same moment; read it again, then edit.")
        files.replace(here, change.after, key=context.key)
        path = here.path
    times = "1 place" if change.count == 1 else f"{change.count} places"
    return Result(
        content=f"Edited {path} in {times}; sha256 now {digest(change.after)[:12]}.",
        detail=_detail(path, change.before, change.after) | {"replacements": change.count},
    )


async def _recover_edit(arguments: EditFile, context: Context) -> Result | None:
    """Compare the file with the recorded digests: the edit is done, not done (then done now), or undecidable."""
    return await workspace.work(context, _recover_now, arguments, context)


def _recover_now(arguments: EditFile, context: Context) -> Result | None:
    before, after = context.note.get("before"), context.note.get("after")
    if before is None or after is None:
        return None
    try:
        with walk.place(context.door, arguments.path, Intent.EDIT) as here:
            content, path = files.contents(here), here.path
    except NotBeneath:
        return None
    current = None if content is None else digest(content)
    if current == after:
        return Result(
            content=f"Edited {path}; sha256 now {after[:12]}.",
            detail={"path": path, "before": before, "after": after, "found_done": True},
        )
    return _edit_now(arguments, context) if current == before else None


def _compute_edit(arguments: EditFile, here: Place) -> _Change:
    """Return the current and the new content; nothing is written."""
    before = files.contents(here)
    if before is None:
        raise files.missing(here, arguments.path)
    expect(arguments.expected_sha256, before, here.path)
    old, new = _encoded(arguments.old_string), _encoded(arguments.new_string)
    if old == new:
        raise ToolError("old_string and new_string are the same; there is nothing to edit.")
    if b"\0" in before[:_LOOKED_AT] or before.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ToolError(f"{here.path}: is a binary file, or text in UTF-16 or UTF-32; change it with a command.")
    made = conventions.replaced(before, old, new)
    if made.count == 0:
        raise ToolError(_not_found(here.path, arguments.old_string, before))
    if made.count > 1 and not arguments.replace_all:
        raise ToolError(_too_many(here.path, made))
    if not new.isascii() and not conventions.is_text(before):
        raise ToolError(
            f"{here.path}: is not UTF-8, so that characters beyond ASCII cannot be put into it; nothing was changed. "
            "Convert it with a command first, or use ASCII only."
        )
    return _Change(here.path, before, made.content, made.count)


def _not_found(path: str, old: str, before: bytes) -> str:
    words = f"{path}: old_string does not occur in the file; nothing was changed."
    if not old.isascii() and not conventions.is_text(before):
        return f"{words} It is not UTF-8: choose a text of ASCII characters only, or convert it with a command."
    if _NUMBERED.match(old):
        return f"{words} It seems to hold the line numbers of read_file: leave them and the tab out."
    first = next((part.strip() for part in old.splitlines() if part.strip()), "")
    lines = before.decode("utf-8", "replace").splitlines()
    near = [number for number, text in enumerate(lines, 1) if first and first in text]
    if near:
        places = ", ".join(str(number) for number in near[:5])
        return (
            f"{words} Its first line occurs at line {places}, so the white space or the lines after it differ: "
            "read there, and copy the text exactly."
        )
    return f"{words} Read the file again, and copy the text exactly."


def _too_many(path: str, made: conventions.Replaced) -> str:
    places = ", ".join(str(number) for number in made.lines) + (", …" if made.count > len(made.lines) else "")
    return (
        f"{path}: old_string occurs {made.count} times (lines {places}); nothing was changed. Add lines "
        "around it until it occurs once, or set replace_all."
    )


def expect(expected: str | None, content: bytes | None, path: str) -> None:
    """Refuse content that differs from what the model has read. Raises ToolError."""
    if expected is None:
        return
    if content is None:
        raise ToolError(f"{path}: does not exist, but expected_sha256 was given; nothing was changed.")
    actual = digest(content)
    if not actual.startswith(expected.lower()):
        raise ToolError(
            f"{path}: its sha256 is {actual[:12]}…, not {expected[:12]}…: it changed since you read it. Nothing "
            "was changed; read it again."
        )


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolError(f"The text cannot be written as UTF-8 (character {error.start}).") from None


def digest(content: bytes) -> str:
    """Return the sha256, in hex."""
    return hashlib.sha256(content).hexdigest()


def digest_or_none(content: bytes | None) -> str | None:
    """Return the digest; None if there is no file."""
    return None if content is None else digest(content)


def _detail(path: str, before: bytes | None, after: bytes) -> dict[str, Any]:
    return {
        "path": path,
        "before": digest_or_none(before),
        "after": digest(after),
        "diff": diff(path, before, after),
    }


def diff(path: str, before: bytes | None, after: bytes | None) -> str | None:
    """Return a unified diff for people, cut if it is long; None if a diff is not possible."""
    whole = diffs.unified(path, before, after)
    return None if whole is None else truncate.middle(whole, _DIFF_BYTES)


WRITE_FILE = Tool(
    name="write_file",
    description=(
        "Write a file of the workspace whole, making it and its folders where they do not exist, and replacing what "
        "it held. To change a part of a file use edit_file."
    ),
    arguments=WriteFile,
    effect=Effect.WRITE,
    replay=Replay.SAFE,
    run=_write,
    plan=_plan_write,
    preview=_preview_write,
)

EDIT_FILE = Tool(
    name="edit_file",
    description=(
        "Replace a piece of text in a file of the workspace. old_string must match exactly and occur once, or "
        "replace_all must be set. A newline stands for the line ends that the file has. Read the file first."
    ),
    arguments=EditFile,
    effect=Effect.WRITE,
    replay=Replay.BY_DIGEST,
    run=_edit,
    plan=_plan_edit,
    recover=_recover_edit,
    preview=_preview_edit,
)

TOOLS = (WRITE_FILE, EDIT_FILE)
