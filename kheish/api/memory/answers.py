"""The answers about memory."""

from __future__ import annotations

from typing import Any, Literal

from kheish import ids
from kheish.api.http.answer import Answer
from kheish.domain.memory import records as run_records
from kheish.runtime.memory.catalog import Note
from kheish.runtime.memory.finding import Hit
from kheish.runtime.memory.section import Recalled


class MemoryFile(Answer):
    """A memory file."""

    path: str
    """Its path in the state root."""
    scope: Literal["shared", "persona", "project", "session"]
    owner: str | None
    """The id of its persona, project or session; null for shared memory."""
    name: str
    description: str
    """From its front matter, or the first line of its text."""
    load: Literal["index", "always", "never"]
    expires: str | None
    bytes: int
    digest: str
    """The sha256 of its content."""
    origin: Literal["person", "agent"]
    """`person` only if the ledger has this content as a user's."""
    tainted: bool
    """Whether a run that untrusted content had reached wrote it."""
    by: str | None
    """The author of this content; null if the ledger has no entry of it."""
    run_id: str | None
    at: str
    """The time of the ledger's entry, or of the file."""
    content: str | None
    """The whole file; null in lists."""
    snippet: str | None
    """The part around the first match of a search."""


class RecalledFile(Answer):
    """A memory file as a session's next prompt treats it."""

    path: str
    digest: str
    loaded: Literal["whole", "index", "no"]
    why: str
    origin: Literal["person", "agent"]
    tokens: int
    """The estimated tokens of a text that is shown whole, or that did not fit."""


class RunRecord(Answer):
    """The record of an ended run."""

    run_id: str
    text: str
    at: str


class SessionMemory(Answer):
    """The memory in a session's next prompt, or what was in a prompt at an earlier revision."""

    session_id: str
    text: str | None
    """The section of the prompt; null at an earlier revision, whose files `?at=` shows."""
    files: list[RecalledFile]
    records: list[RunRecord]
    n: int | None
    """At an earlier revision: the event `model.requested` that named the files."""


class SkillDraft(Answer):
    """A draft of a skill, for a user to review."""

    path: str
    content: str


def file(note: Note, content: str | None = None, snippet: str | None = None) -> dict[str, Any]:
    """Return a memory file as the API shows it."""
    origin = note.origin
    return {
        "path": note.path,
        "scope": note.place.scope,
        "owner": note.place.owner,
        "name": note.name,
        "description": note.description,
        "load": note.load,
        "expires": note.expires,
        "bytes": note.bytes,
        "digest": note.digest,
        "origin": "person" if note.is_users else "agent",
        "tainted": origin is not None and origin.tainted,
        "by": origin.by if origin is not None else None,
        "run_id": origin.run_id if origin is not None else None,
        "at": origin.at if origin is not None else ids.stamp(note.changed_at),
        "content": content,
        "snippet": snippet,
    }


def hit(found: Hit) -> dict[str, Any]:
    """Return a match of a search."""
    return file(found.note, snippet=found.snippet)


def recalled(session_id: str, one: Recalled) -> dict[str, Any]:
    """Return the memory in a session's next prompt."""
    rows = [
        {
            "path": row.note.path,
            "digest": row.note.digest,
            "loaded": row.loaded,
            "why": row.why,
            "origin": "person" if row.note.is_users else "agent",
            "tokens": row.tokens,
        }
        for row in one.rows
    ]
    records = [_record(record) for record in one.records]
    return {"session_id": session_id, "text": one.text, "files": rows, "records": records, "n": None}


def _record(record: run_records.RunRecord) -> dict[str, Any]:
    return {"run_id": record.run_id, "text": record.text, "at": record.at}
