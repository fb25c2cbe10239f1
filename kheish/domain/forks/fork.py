"""Forks: a new session with the history of another, up to a point, as read-only segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from kheish import ids
from kheish.domain import events
from kheish.domain.forks import inherited
from kheish.domain.messages import Conversation
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.errors import Damaged, Invalid, SessionConflict
from kheish.state import encoding
from kheish.store.log import journal, spills
from kheish.store.log.index import Reader

if TYPE_CHECKING:
    from kheish.state.state import State

Line = dict[str, Any]
_ALL = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The copied history: segments as bytes, the digests of the payloads that they name, the settings at that point,
    and the last entry's `seq` and `n`."""

    origin: str
    path: str
    segments: tuple[bytes, ...]
    spills: tuple[str, ...]
    settings: Mapping[str, Any]
    tainted_by: str | None
    seq: int
    n: int


def read(root: Path, origin: str, path: str, index: Reader, *, seq: int | None = None, n: int | None = None) -> History:
    """Return the history of a session up to entry `seq` or event `n` (neither: all). Blocks on disk. Raises Invalid.

    The session's own lines come from the index, because a user's git may be changing the files. They are written in the
    segments of the journal, so that git stores no closed segment twice.
    """
    inherited_segments = [part.read_bytes() for part in journal.segments(root / path / "forked")]
    named = dict.fromkeys(
        digest for raw in inherited_segments for line in raw.splitlines() for digest in _named(orjson.loads(line))
    )
    settings: dict[str, Any] = {}
    tainted_by: str | None = None
    last: Line | None = None
    kept: list[tuple[int, bytes]] = []
    for _, _, text in index.events(0, limit=_ALL, session=origin):
        line = orjson.loads(text)
        if (seq is not None and line["seq"] > seq) or (n is not None and line["n"] > n):
            break
        last = line
        kept.append((line["seq"], text.encode()))
        settings = _settled(settings, line)
        tainted_by = tainted_by or _tainted(line)
        named.update(dict.fromkeys(_named(line)))
    own = journal.continued({}, kept, f"{path}/journal")
    segments = [*inherited_segments, *(own[name] for name in sorted(own))]
    if last is None or (seq is not None and last["seq"] != seq):
        end = f"its journal has {last['seq']} entries" if last else "it did not exist then"
        raise Invalid(f"The session {origin!r} cannot be forked there: {end}.")
    return History(
        origin=origin,
        path=path,
        segments=tuple(segments),
        spills=tuple(digest for digest in named if spills.exists(root, spills.place_of(path, digest))),
        settings=settings,
        tainted_by=tainted_by,
        seq=last["seq"],
        n=last["n"],
    )


def _named(line: Line) -> Iterator[str]:
    # A checkpoint's payload belongs to its session; a fork has no reader for it.
    return encoding.spilled(line["data"]) if line["kind"] != events.Checkpoint.kind else iter(())


def _settled(settings: dict[str, Any], line: Line) -> dict[str, Any]:
    match line["kind"]:
        case "session.created" | "session.forked":
            return {**settings, **line["data"]["settings"]}
        case "session.updated":
            return {**settings, **line["data"]["changes"]}
        case "session.rule_added":
            return {**settings, "permission_rules": [*settings.get("permission_rules", []), line["data"]["rule"]]}
    return settings


def _tainted(line: Line) -> str | None:
    data = line["data"]
    if line["kind"] == events.ToolStarted.kind and sessions.taints(data["tool"], data["effect"], data["note"]):
        return str(data["tool"])
    carrying = (events.SessionForked, events.MessageDelivered, events.ChannelTurnTaken)
    carries = line["kind"] in [one.kind for one in carrying]
    taint: str | None = data.get("tainted_by") if carries else None
    return taint


def write(root: Path, path: str, history: History, session_id: str) -> Conversation:
    """Write the history into the folder of a session that is about to be created; returns its conversation.

    The files are durable on return, because the entry that names them follows. Blocks on disk. Raises Damaged.
    """
    for number, raw in enumerate(history.segments, 1):
        spills.place(root, f"{path}/forked/{journal.name(number)}", raw, fsync=True)
    for digest in history.spills:
        raw = spills.read(root, spills.place_of(history.path, digest))
        spills.place(root, spills.place_of(path, digest), raw, fsync=True)
    conversation = inherited.read(root, path, session_id)
    if conversation is None:
        raise Damaged(f"The history copied to {path}/forked is missing.", path=path)
    return conversation


def asset_ids(conversation: Conversation) -> tuple[str, ...]:
    """Return the assets that the messages of a conversation attach, each once."""
    items = [item for message in conversation.messages for item in message.items]
    items += [item for _, waiting in conversation.inputs.values() for item in waiting]
    return tuple(dict.fromkeys(item.asset_id for item in items if item.asset_id is not None))


def create(
    state: State,
    session_id: str,
    path: str,
    history: History,
    conversation: Conversation,
    *,
    title: str | None,
    commit: str | None,
    by: str,
) -> Session:
    """Create the session whose history was written. Raises SessionConflict if the id was taken meanwhile."""
    if state.find(Session, session_id) is not None:
        raise SessionConflict(f"The session {session_id!r} already exists; choose another id.")
    sessions.check_undeleted(state, session_id)
    settings = {**history.settings, **({"title": title} if title is not None else {})}
    event = events.SessionForked(
        path=path,
        agent_id=ids.new("agent"),
        settings={key: value for key, value in settings.items() if key in sessions.SETTINGS},
        origin=history.origin,
        seq=history.seq,
        at_n=history.n,
        commit=commit,
        segments=len(history.segments),
        spills=history.spills,
        tainted_by=history.tainted_by,
        asset_ids=asset_ids(conversation),
    )
    state.append(event.on(session_id, by=by))
    state.sessions[session_id].tables[Conversation][session_id] = conversation
    return state.get(Session, session_id)


def paths(path: str, event: events.SessionForked) -> list[str]:
    """Return the files of a fork, for the commit that records it."""
    segments = [f"{path}/forked/{journal.name(number)}" for number in range(1, event.segments + 1)]
    return [*segments, *(spills.place_of(path, digest) for digest in event.spills)]
