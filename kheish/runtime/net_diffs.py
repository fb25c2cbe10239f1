"""The net change of a session's edits of a file: one diff from the content before all edits to that after them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from kheish.beneath import Door, files, pool, walk
from kheish.beneath.door import Root, opened
from kheish.domain import workspaces
from kheish.domain.events import Spilled, frozen
from kheish.domain.patches import diffs
from kheish.domain.patches.diffs import Piece
from kheish.domain.shown import View
from kheish.errors import Damaged, NotBeneath, NotThere
from kheish.runtime import changed_files
from kheish.runtime.changed_files import MOST_EDITS, MOST_ENTRIES, Changed, Edit, Place
from kheish.runtime.tools import truncate
from kheish.state import encoding
from kheish.state.state import State

_DIFF_BYTES = 48 * 1024
_REFERENCE = frozenset({"sha256", "bytes", "preview"})

OLDER = f"only the newest {MOST_ENTRIES} entries of tool calls were read"
BETWEEN = "it was also changed in between, but not by this session's file tools"
SINCE = "it was changed since, but not by this session's file tools"
MOVED = "the session's workspace is another folder now"
MANY = f"only the newest {MOST_EDITS} edits are shown"
MISSING = "a diff is missing: the content is binary or very long, or the daemon was restarted in the middle of a call"
INEXACT = (
    "the earlier content cannot be derived from the diffs: the file is not UTF-8, or they are cut or have a secret"
)


@dataclass(frozen=True, slots=True)
class _Present:
    """A file's current state: missing, or its content if that is not too large."""

    digest: str | None
    content: bytes | None


@frozen
class ChangedFileView(View):
    """A file of the workspace that a session's file tools changed."""

    path: str
    workspace: str
    """The folder that `path` is in."""
    change: Literal["added", "modified", "deleted"]
    runs: tuple[str, ...]
    """The runs that changed it, in their order."""
    edits: int
    """The number of tool calls that changed it."""
    changed_at: str
    """The time of the last change."""
    before_sha256: str | None
    """The content before the first change; null: the file did not exist."""
    after_sha256: str | None
    """The content after the last change; null: the file does not exist."""
    mode: str | None
    """The permissions that a patch gave it, in octal digits."""
    diff: str | None
    """Null if a diff is not possible, such as for a binary file."""
    is_net: bool
    """True if `diff` leads from the content before the first change to the content after the last; otherwise it is the
    diffs of the edits in sequence.
    """
    is_current: bool
    """Whether the file still is as the last edit left it."""
    note: str | None
    """The reason why the diff is not the net one, or the file not current."""


def listed(
    state: State, session: Mapping[str, Any], below: Place | None, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """Return a page of the changed files as callers get them, and where the next page begins. Blocks on disk.

    Raises WorkspaceSlow.
    """
    changed, is_all = changed_files.read(state, session["session_id"])
    chosen, has_more = changed_files.page(changed, below, limit)
    note = None if is_all else OLDER
    door = workspaces.door_of(state, session["workspace"] or "/nonexistent")
    try:
        with opened(door) as root:
            items = [_describe(state, session, root, one, note) for one in chosen]
    except NotBeneath:  # the folder does not exist any more
        items = [_describe(state, session, None, one, note) for one in chosen]
    # The present content may hold a secret that was stored since the journal was written.
    clean: list[dict[str, Any]] = orjson.loads(encoding.scrubbed(orjson.dumps(items), state.scrub))
    return clean, chosen[-1].last.place if has_more else None


def _describe(
    state: State, session: Mapping[str, Any], root: Root | None, one: Changed, note: str | None
) -> ChangedFileView:
    pool.check()
    is_here = root is not None and one.last.workspace == session["workspace"]
    present = _present(root, one.last.path) if root is not None and is_here else None
    is_current = present is not None and present.digest == one.last.after
    pieces = [_piece(state, session["path"], edit) for edit in one.edits[-MOST_EDITS:]]
    diff, is_net, why = _diff(one, pieces, present if is_current else None)
    if not is_current:
        why = why or (SINCE if is_here else MOVED)
    return ChangedFileView(
        path=one.last.path,
        workspace=one.last.workspace,
        change="added" if one.first.before is None else "deleted" if one.last.after is None else "modified",
        runs=tuple(dict.fromkeys(edit.run_id for edit in one.edits)),
        edits=len(one.edits),
        changed_at=one.last.at,
        before_sha256=one.first.before,
        after_sha256=one.last.after,
        mode=next((edit.mode for edit in reversed(one.edits) if edit.mode is not None), None),
        diff=diff,
        is_net=is_net,
        is_current=is_current,
        note="; ".join(part for part in (why, note) if part) or None,
    )


def _diff(one: Changed, pieces: Sequence[Piece | None], now: _Present | None) -> tuple[str | None, bool, str | None]:
    """Return the diff, whether it is the net diff, and why not. `now`: the file, if it is as the last edit left it."""
    if len(one.edits) == 1 and pieces[0] is not None:
        return pieces[0].text, True, None
    why = MANY if len(pieces) < len(one.edits) else None if one.is_chain else BETWEEN
    if now is not None and one.first.before is None and now.content is not None:
        return _net(one, None, now.content, why)  # there was no file before: no edit needs to be reverted
    if now is not None and why is None:
        before, why = _revert(one.edits, pieces, now)
        if why is None:
            return _net(one, before, now.content, None)
    texts = [piece.text for piece in pieces if piece is not None]
    why = why or (MISSING if len(texts) < len(one.edits) else None)
    return (truncate.middle("".join(texts), _DIFF_BYTES) if texts else None), False, why


def _net(
    one: Changed, before: bytes | None, after: bytes | None, why: str | None
) -> tuple[str | None, bool, str | None]:
    net = diffs.unified(one.last.path, before, after)
    return (None, False, MISSING) if net is None else (truncate.middle(net, _DIFF_BYTES), True, why)


def _revert(edits: Sequence[Edit], pieces: Sequence[Piece | None], now: _Present) -> tuple[bytes | None, str | None]:
    """Return the content before the edits, or why it cannot be derived. Each step is compared with its digest."""
    content = now.content
    if content is None and now.digest is not None:
        return None, MISSING
    for edit, piece in zip(reversed(edits), reversed(pieces), strict=True):
        if edit.before == edit.after:
            continue
        if piece is None:
            return None, MISSING
        before = diffs.undone(piece.patch, content or b"")
        if before is None or (edit.before or _digest(b"")) != _digest(before):
            return None, INEXACT
        content = None if edit.before is None else before
    return content, None


def _present(root: Root, path: str) -> _Present | None:
    """Return the file's current state; None if it is outside of the workspace."""
    try:
        # The edits went through no link; a path that leads elsewhere now is another file.
        straight = Door(root.door.path, root.door.hidden, judged={})
        with opened(straight) as door, walk.place(door, path) as here:
            content = files.contents(here)
    except NotThere:
        return _Present(None, None)
    except NotBeneath:
        return None
    return _Present(None if content is None else _digest(content), content)


def _piece(state: State, folder: str, edit: Edit) -> Piece | None:
    """Return the diff of one edit; None if the journal has none for this file."""
    [(_, _, line)] = state.index.events(edit.place[0] - 1, limit=1)
    detail = orjson.loads(line)["data"]["detail"]
    diff = detail.get("diff")
    if isinstance(diff, Mapping) and diff.keys() == _REFERENCE:
        try:
            diff = state.payloads.read(folder, Spilled(**diff)).decode()
        except Damaged:
            return None
    if not isinstance(diff, str):
        return None
    named = next((one for one in changed_files.named(detail) if one["path"] == edit.path), None)
    if named is None or named.get("before") != edit.before:  # detected as done: the diff is empty
        return None
    return diffs.pieces(diff).get(edit.path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
