"""What callers get of the past: `answers` of searches, diffs and deletions."""

from __future__ import annotations

from typing import Literal

from kheish.api.answers import Event, Session
from kheish.api.http.answer import Answer


class Found(Answer):
    """An entry that says what was looked for."""

    n: int
    seq: int
    at: str
    kind: str
    actor: str
    session_id: str
    run_id: str | None
    snippet: str


class FoundSession(Session):
    """A session of a list; `match` is there where the list was asked for with `q`."""

    match: Found | None = None


class DeletedSession(Answer):
    """What is kept of a session that was deleted."""

    session_id: str
    path: str
    """The folder that it had."""
    deleted_at: str
    deleted_by: str
    last_n: int
    remains: str
    """What git's history still has, in words."""


class BlamedLine(Answer):
    """A line of a file, and the commit that wrote it."""

    line: int
    text: str
    commit: str
    author: str
    time: int
    """Seconds since 1970."""
    summary: str
    """The first line of the commit's message."""


class Blame(Answer):
    """Who wrote each line of a file."""

    path: str
    commit: str
    """As of this commit."""
    lines: list[BlamedLine]


class Moment(Answer):
    """A moment that was asked for."""

    rev: str
    commit: str | None
    """The first commit that holds it; null where none does yet."""
    n: int
    """Its newest event."""


class SessionDiff(Answer):
    """What happened in a session between two moments."""

    session_id: str
    path: str
    from_: Moment | None
    """null: the beginning."""
    to: Moment | None
    """null: now."""
    text: str
    """As a conversation."""
    entries: list[Event]
    """The journal lines, oldest first."""
    next_from: str | None
    """Where to go on, as `from`; null where this is all."""


class ChangedFile(Answer):
    """A file of the workspace that a session's file tools changed."""

    path: str
    workspace: str
    """The folder that `path` is in."""
    change: Literal["added", "modified", "deleted"]
    runs: list[str]
    """The runs that changed it, in their order."""
    edits: int
    """How many tool calls changed it."""
    changed_at: str
    """When the last of them did."""
    before_sha256: str | None
    """The content before the first of them; null: there was no file."""
    after_sha256: str | None
    """The content after the last of them; null: there is no file."""
    mode: str | None
    """The permissions that a patch gave it, in octal digits."""
    diff: str | None
    """Null where there can be none, such as for a binary file."""
    is_net: bool
    """Whether `diff` leads from the content before the first to the one after the last; else it is the diffs of the
    edits, one after the other."""
    is_current: bool
    """Whether the file is now as the last edit left it."""
    note: str | None
    """Why the diff is not the net one, or the file not current."""
