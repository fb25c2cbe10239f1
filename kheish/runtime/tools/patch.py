"""`apply_patch`: a unified diff over several files, each replaced atomically; if one fails, all are reverted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from kheish.beneath import files, names, walk
from kheish.beneath.walk import Intent
from kheish.domain.patches import diffs, patch as patches
from kheish.domain.patches.patch import BadPatch, FilePatch
from kheish.errors import NotBeneath, NotThere
from kheish.runtime.tools import edit, truncate, workspace
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError

_DIFF_BYTES = 48 * 1024


class ApplyPatch(Arguments):
    patch: str = Field(
        min_length=1,
        max_length=1_000_000,
        description=(
            "A unified diff: for each file `--- a/path`, `+++ b/path` (/dev/null for a file that is made or removed), "
            "and hunks `@@ -line,count +line,count @@` with right counts, and context exactly as it is in the file. "
            "`new file mode 100755`, and `old mode` with `new mode` after a line `diff --git a/path b/path`, make a "
            "file one that is run."
        ),
    )
    expected_sha256: dict[str, Annotated[str, Field(pattern=r"^[0-9a-fA-F]{12,64}$")]] | None = Field(
        None,
        description="Refuse if a file's sha256 is another: by path, all 64 hex digits or the first 12 or more.",
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """One file: its content before and afterwards; None if it does not exist. `mode`: its new permissions, and `had`
    the earlier ones, if they change.
    """

    path: str
    before: bytes | None
    after: bytes | None
    mode: int | None = None
    had: int | None = None

    def note(self) -> dict[str, Any]:
        noted: dict[str, Any] = {
            "path": self.path,
            "before": edit.digest_or_none(self.before),
            "after": edit.digest_or_none(self.after),
        }
        return noted if self.mode is None else noted | {"mode": f"{self.mode:o}"}


async def _plan(arguments: ApplyPatch, context: Context) -> Mapping[str, Any]:
    changes = await workspace.work(context, _changes, arguments, context)
    return {"files": [change.note() for change in changes]}


async def _preview(arguments: ApplyPatch, context: Context) -> str | None:
    return await workspace.work(context, _previewed, arguments, context)


def _previewed(arguments: ApplyPatch, context: Context) -> str | None:
    """Return the diff of all files; None if that of a file is missing, or would not show its mode."""
    changes = _changes(arguments, context)
    pieces = [diffs.unified(change.path, change.before, change.after) for change in changes]
    return None if any(change.mode is not None for change in changes) or None in pieces else "".join(map(str, pieces))


async def _apply(arguments: ApplyPatch, context: Context) -> Result:
    return await workspace.work(context, _apply_now, arguments, context)


def _apply_now(arguments: ApplyPatch, context: Context) -> Result:
    changes = _changes(arguments, context)
    planned = context.note.get("files")
    # Recovery compares with the recorded digests; a patch of other content would invalidate them.
    if planned is not None and planned != [change.note() for change in changes]:
        raise ToolError("Another process changed a file at the same moment; nothing was changed. Read it, then patch.")
    _write_all(changes, context)
    return _result(changes, {})


async def _recover(arguments: ApplyPatch, context: Context) -> Result | None:
    return await workspace.work(context, _recover_now, arguments, context)


def _recover_now(arguments: ApplyPatch, context: Context) -> Result | None:
    """Complete a patch after a restart.

    Each file must be in the state before or after it; otherwise the outcome is undecidable.
    """
    planned = context.note.get("files")
    if not planned:
        return None
    by_path = {patch.path: patch for patch in _read(arguments)}
    remaining: list[_Change] = []
    for noted in planned:
        try:
            present = _look(context, noted["path"])
            current = edit.digest_or_none(present.before)
            mode = noted.get("mode")
            if current == noted["after"] and (mode is None or _runs(present.had) is _runs(int(mode, 8))):
                continue
            patch = next((one for path, one in by_path.items() if _same_path(context, path, noted["path"])), None)
            if patch is None or current not in (noted["before"], noted["after"]):
                return None
            after = present.before if current == noted["after"] else patches.apply(patch, present.before)
            remaining.append(replace(present, after=after, mode=patch.mode))
        except (ToolError, NotBeneath, BadPatch):
            return None
    _write_all(remaining, context)
    return _result(remaining, {"found_done": len(planned) - len(remaining)}, [noted["path"] for noted in planned])


def _read(arguments: ApplyPatch) -> tuple[FilePatch, ...]:
    try:
        return patches.read(arguments.patch)
    except (BadPatch, UnicodeEncodeError) as error:
        raise ToolError(f"The patch cannot be used; nothing was changed: {error}.") from None


def _changes(arguments: ApplyPatch, context: Context) -> list[_Change]:
    """Return the planned change of each file; nothing is written. Raises ToolError that lists all mismatches."""
    expected = dict(arguments.expected_sha256 or {})
    changes: dict[str, _Change] = {}
    wrong: list[str] = []
    for patch in _read(arguments):
        try:
            present = _look(context, patch.path)
            edit.expect(expected.pop(patch.path, None), present.before, present.path)
            if present.path in changes:
                raise ToolError(f"{patch.path}: the same file as another of the patch ({present.path})")
            changes[present.path] = replace(present, after=patches.apply(patch, present.before), mode=patch.mode)
        except (ToolError, NotBeneath, BadPatch) as error:
            wrong.append(str(error).rstrip("."))
    wrong += [f"{path}: in expected_sha256, but not in the patch" for path in expected]
    if wrong:
        raise ToolError("The patch does not fit; nothing was changed:\n" + "\n".join(f"- {one}" for one in wrong))
    return list(changes.values())


def _write_all(changes: Sequence[_Change], context: Context) -> None:
    """Write file by file; if one fails, the earlier ones are restored. Raises ToolError."""
    done: list[_Change] = []
    try:
        for change in changes:
            _put(context, change.path, change.after, change.mode)
            done.append(change)
    except (NotBeneath, OSError) as error:
        kept = []
        for change in reversed(done):
            try:
                _put(context, change.path, change.before, change.had)
            except (NotBeneath, OSError):
                kept.append(change.path)
        state = f"these stay changed: {', '.join(kept)}" if kept else "nothing stays changed"
        raise ToolError(f"The patch could not be written ({error}); {state}.") from error


def _put(context: Context, path: str, content: bytes | None, mode: int | None) -> None:
    # The checked files are those that are written: a link that was inserted since then is refused.
    with walk.place(context.door.judging({}), path, Intent.CREATE) as here:
        if content is None:
            files.remove(here)
        else:
            files.replace(here, content, key=context.key, mode=mode)


def _look(context: Context, written: str) -> _Change:
    """Return a path's target and its current content; no folder is created. Raises NotBeneath, ToolError."""
    try:
        with walk.place(context.door, written, Intent.EDIT) as here:
            before = files.contents(here)
            return _Change(here.path, before, before, had=files.mode(here))
    except NotThere:
        path = walk.resolved(context.door, written)  # its folder does not exist yet
        if (kept := next(filter(names.is_kept, path.split("/")), None)) is not None:
            raise ToolError(f"{written}: {names.kept_words(kept)}.") from None
        return _Change(path, None, None)


def _same_path(context: Context, written: str, noted: str) -> bool:
    try:
        return walk.resolved(context.door, written) == noted
    except NotBeneath:
        return written == noted


def _result(changes: Sequence[_Change], more: Mapping[str, Any], paths: Sequence[str] = ()) -> Result:
    lines = [_describe_change(change) for change in changes]
    lines += [f"{path}: was done before the restart" for path in paths if path not in {one.path for one in changes}]
    shown = [edit.diff(change.path, change.before, change.after) or "" for change in changes]
    return Result(
        content="Applied the patch:\n" + "\n".join(lines),
        detail={
            "files": [change.note() for change in changes],
            "diff": truncate.middle("".join(shown), _DIFF_BYTES),
            **more,
        },
    )


def _describe_change(change: _Change) -> str:
    if change.after is None:
        return f"{change.path}: removed"
    what = "made" if change.before is None else "changed"
    mode = "" if change.mode is None or _runs(change.mode) is _runs(change.had) else f"; mode now {change.mode:o}"
    return f"{change.path}: {what}; sha256 now {str(edit.digest_or_none(change.after))[:12]}{mode}"


def _runs(mode: int | None) -> bool:
    return bool((mode or 0) & 0o100)


TOOLS = (
    Tool(
        name="apply_patch",
        description=(
            "Apply a unified diff to files of the workspace: all of it, or nothing. For changes in several places or "
            "files at once; edit_file is simpler for one. A hunk is found by its lines where the numbers are off."
        ),
        arguments=ApplyPatch,
        effect=Effect.WRITE,
        replay=Replay.BY_DIGEST,
        run=_apply,
        plan=_plan,
        recover=_recover,
        preview=_preview,
    ),
)
