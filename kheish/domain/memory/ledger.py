"""The ledger of origins: for the digest of each content, whether a user or an agent wrote it.

A file's own words prove nothing, so its origin is recorded here, by its content: renames, copies, forks and restored
versions keep it. A content without an entry counts as an agent's. A content of a user stays a user's if an agent writes
the same: else an agent could demote a user's file by a copy of it. Only `revoke` does that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.events.memory import MEMORY as MEMORY, Change, Origin as OriginKind, Via
from kheish.domain.shown import View
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.event import Draft


@frozen
class Origin:
    """The origin of a content, by its digest. `by`, `run_id` and `at` are of the entry that determined it."""

    digest: str
    origin: OriginKind
    path: str
    by: str
    run_id: str | None
    session_id: str | None
    tainted: bool
    at: str
    made: int
    n: int


FOLDED = (events.MemoryChanged,)


def fold(table: dict[str, Origin], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event = entry.event
    assert isinstance(event, events.MemoryChanged)
    old = table.get(event.digest)
    if old is not None and not _determines(old, event):
        table[event.digest] = changed(old, n=entry.n, tainted=old.tainted or event.tainted)
        return (event.digest,)
    table[event.digest] = Origin(
        digest=event.digest,
        origin=_origin(event),
        path=event.new_path or event.path,
        by=event.by,
        run_id=event.run,
        session_id=event.session,
        tainted=event.tainted or (old is not None and old.tainted),
        at=entry.at,
        made=old.made if old is not None else entry.n,
        n=entry.n,
    )
    return (event.digest,)


def _origin(event: events.MemoryChanged) -> OriginKind:
    """Return the origin that an entry gives to its content: a removal or a new name proves none."""
    match event.change:
        case "accepted":
            return "person"
        case "written":
            return event.origin
    return "agent"


def _determines(old: Origin, event: events.MemoryChanged) -> bool:
    """Return whether an entry changes the origin of a recorded content."""
    match event.change:
        case "accepted" | "revoked":
            return True
        case "written":
            return event.origin == "person" and old.origin == "agent"
    return False


@frozen
class MemoryOriginView(View):
    """The origin of a content of memory."""

    digest: str
    origin: OriginKind
    path: str
    """The file that had this content first, or when its origin changed."""
    by: str
    run_id: str | None
    session_id: str | None
    tainted: bool
    at: str
    made: int
    n: int


def view(origin: Origin) -> MemoryOriginView:
    """Return the origin as the index stores it."""
    return MemoryOriginView(
        digest=origin.digest,
        origin=origin.origin,
        path=origin.path,
        by=origin.by,
        run_id=origin.run_id,
        session_id=origin.session_id,
        tainted=origin.tainted,
        at=origin.at,
        made=origin.made,
        n=origin.n,
    )


def read(document: dict[str, Any]) -> Origin:
    """Return the origin that a document of the index describes."""
    return Origin(**document)


NOUN = Noun(
    name="memory_origin",
    cls=Origin,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Origin], entry),
    keep=always,  # an owner is a digest, so it has a single value
    view=view,
    status=lambda origin: origin.origin,
    read=read,
)


@frozen
class Author:
    """The author of a change: `by` is a principal (`token:local`, `agent:…`, `file`), `run_id` the run that made it."""

    by: str
    origin: OriginKind
    via: Via
    run_id: str | None = None
    session_id: str | None = None
    tainted: bool = False


def entry(
    author: Author, path: str, digest: str, change: Change, *, before: str | None = None, new_path: str | None = None
) -> Draft:
    """Return the entry of a change; its owner, the digest, must be loaded when it is appended."""
    event = events.MemoryChanged(
        path=path,
        digest=digest,
        change=change,
        origin=author.origin,
        via=author.via,
        by=author.by,
        run=author.run_id,
        session=author.session_id,
        tainted=author.tainted,
        before=before,
        new_path=new_path,
    )
    return event.on(run=author.run_id, by=author.by)
