"""Responses about the past: results of searches, diffs and deletions."""

from __future__ import annotations

from typing import Literal

from kheish.api.answers import Event, Session
from kheish.api.http.answer import Answer


class Found(Answer):
    """A matching entry."""

    n: int
    seq: int
    at: str
    kind: str
    actor: str
    session_id: str
    run_id: str | None
    snippet: str


class FoundSession(Session):
    """A session of a list; `match` is present if the list was requested with `q`."""

    match: Found | None = None


class DeletedSession(Answer):
    """The remaining data of a deleted session."""

    session_id: str
    path: str
    """Its former folder."""
    deleted_at: str
    deleted_by: str
    last_n: int
    remains: str
    """A description of the data that remains in git's history."""


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
    """The commit that wrote each line of a file."""

    path: str
    commit: str
    """As of this commit."""
    lines: list[BlamedLine]


class Moment(Answer):
    """A requested moment."""

    rev: str
    commit: str | None
    """The first commit that contains it; null if it is not committed yet."""
    n: int
    """Its newest event."""


class SessionDiff(Answer):
    """The events of a session between two moments."""

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
    """The cursor of the next page, as `from`; null on the last page."""


class ChangedFile(Answer):
    """A file of the workspace that a session's file tools changed."""

    path: str
    workspace: str
    """The folder that `path` is in."""
    change: Literal["added", "modified", "deleted"]
    runs: list[str]
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
    """Whether `diff` leads from the content before the first change to the content after the last; otherwise it is the
    diffs of the edits in sequence.
    """
    is_current: bool
    """Whether the file still is as the last edit left it."""
    note: str | None
    """Why the diff is not the net one, or the file not current."""
