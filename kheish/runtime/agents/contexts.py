"""The part of its parent's conversation that a child begins with: all of it, or the last messages.

It is a fork's history in `forked/`: read-only segments, written before the entry that names them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from kheish.domain import events, messages
from kheish.domain.forks import fork as forks
from kheish.domain.messages import Conversation
from kheish.domain.sessions.session import Session
from kheish.state import encoding
from kheish.state.loading import Partition
from kheish.state.state import State

Line = dict[str, Any]
_KINDS = {cls.kind for cls in messages.FOLDED}
#: the entries that begin a message of a user or of an agent
_SAID = frozenset({events.RunStarted.kind, events.ModelResponded.kind})


async def carried(
    state: State, parent_session: str, session_id: str, path: str, context: str
) -> tuple[events.SessionForked, Conversation] | None:
    """Write the history of a child that is about to be created; return its first event and its conversation, or None if
    there is nothing to begin with.

    `context` is `all` or `last:N`. Raises Damaged.
    """
    session = state.get(Session, parent_session)
    await state.durable()
    await state.caught_up()
    history = await asyncio.to_thread(forks.read, state.root, parent_session, session.path, state.index)
    if context != "all":
        history = await asyncio.to_thread(_shortened, history, int(context.partition(":")[2]))
    if not history.segments:
        return None
    conversation = await asyncio.to_thread(forks.write, state.root, path, history, session_id)
    opening = events.SessionForked(
        path=path,
        agent_id="",
        settings={},
        origin=parent_session,
        seq=history.seq,
        at_n=history.n,
        commit=None,
        segments=len(history.segments),
        spills=history.spills,
        tainted_by=session.tainted_by,
        asset_ids=forks.asset_ids(conversation),
    )
    return opening, conversation


def adopt(state: State, session_id: str, path: str, conversation: Conversation) -> None:
    """Put the conversation of a child into memory, right before the group that creates its session."""
    part = Partition(session_id, path, state.nouns)
    part.tables[Conversation][session_id] = conversation
    state.adopt(part)


def _shortened(history: forks.History, count: int) -> forks.History:
    """Return the last messages of a history, numbered from 1; none from before its last summary."""
    lines = [orjson.loads(line) for raw in history.segments for line in raw.splitlines()]
    summary = max((at for at, line in enumerate(lines) if line["kind"] == events.ContextCompacted.kind), default=-1)
    said = [at for at, line in enumerate(lines) if line["kind"] in _SAID and at > summary]
    start = said[-count] if len(said) >= count else summary + 1
    kept = [line for at, line in enumerate(lines) if line["kind"] in _KINDS and at >= start]
    begun = {line["run"] for line in kept if line["kind"] == events.RunStarted.kind}
    inputs = [line for line in lines[:start] if line["kind"] == events.RunSubmitted.kind and line["run"] in begun]
    numbered = [{**line, "seq": seq} for seq, line in enumerate([*inputs, *kept], 1)]
    raw = b"".join(orjson.dumps(line) + b"\n" for line in numbered)
    named = set(_named(numbered))
    spills = tuple(digest for digest in history.spills if digest in named)
    return replace(history, segments=(raw,) if numbered else (), spills=spills)


def _named(lines: list[Line]) -> Iterator[str]:
    for line in lines:
        yield from encoding.spilled(line["data"])
