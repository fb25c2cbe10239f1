"""The start of a fork: the conversation in its `forked/` segments.

The segments hold the lines of the earlier sessions, oldest first; each `session.created` or `session.forked` begins a
generation with its own `seq`. Here they are renumbered up to 0, the last entry before the fork's own first entry, so
that order, summaries and checkpoints work as in a single journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kheish.domain import events, messages
from kheish.domain.events import ContextCompacted, Entry, changed
from kheish.domain.messages import Conversation, Message
from kheish.state.noun import Noun
from kheish.store.log import journal

Line = dict[str, Any]
_KINDS = {cls.kind for cls in messages.FOLDED}


def read(root: Path, path: str, session_id: str, needs_from: int | None = None) -> Conversation | None:
    """Return the conversation that the session in folder `path` began with.

    With `needs_from`, return only the part that no summary has replaced since. Blocks on disk. Raises Damaged.
    """
    parts = journal.segments(root / path / "forked")
    lines = [line for part in parts for line in journal.parse(part.read_bytes(), f"{path}/forked/{part.name}")]
    history = conversation(lines, session_id) if lines else None
    if history is not None and needs_from is not None:
        history.messages = [one for one in history.messages if one.source >= needs_from]
    return history


def conversation(lines: Sequence[Line], session_id: str) -> Conversation:
    """Return the messages in these lines, without calls that have no result and without runs that had not begun."""
    shifts = _shifts(lines)
    table: dict[str, Conversation] = {session_id: Conversation()}
    for at in range(_start(lines, shifts), len(lines)):
        if lines[at]["kind"] in _KINDS:
            messages.fold(table, _shifted(events.decode(lines[at]), shifts[at], session_id))
    result = table[session_id]
    result.inputs.clear()
    result.messages = _closed(result.messages)
    return result


def _shifts(lines: Sequence[Line]) -> list[int]:
    """Return the number to subtract from the `seq` of each line: the count of lines since its generation began."""
    shifts: list[int] = []
    shift = len(lines)
    for at, line in enumerate(lines):
        if line["seq"] == 1:
            shift = len(lines) - at
        shifts.append(shift)
    return shifts


def _start(lines: Sequence[Line], shifts: Sequence[int]) -> int:
    """Return the first line that is needed, according to the newest checkpoint."""
    for at in range(len(lines) - 1, -1, -1):
        if lines[at]["kind"] == events.Checkpoint.kind:
            needed: int = lines[at]["data"]["messages_from"] - shifts[at]
            return min(max(0, len(lines) - 1 + needed), at)
    return 0


def _shifted(entry: Entry, shift: int, session_id: str) -> Entry:
    event = entry.event
    if isinstance(event, ContextCompacted):
        event = changed(event, covers=event.covers - shift)
    return changed(entry, seq=entry.seq - shift, session=session_id, event=event)


def _closed(history: Sequence[Message]) -> list[Message]:
    """Return the messages without open calls: a call that waits for a user in one session does not wait in the
    other."""
    ended = {(message.run_id, message.call_id) for message in history if message.role == "tool"}
    closed: list[Message] = []
    for message in history:
        calls = tuple(call for call in message.calls if (message.run_id, call.id) in ended)
        if len(calls) == len(message.calls):
            closed.append(message)
        elif calls or message.text:
            # A provider's own block refers to the calls, too.
            closed.append(changed(message, calls=calls, opaque=None))
    return closed


NOUN = Noun(
    name="conversation",
    cls=Conversation,
    folded=frozenset(messages.FOLDED),
    fold=lambda tables, entry: messages.fold(tables[Conversation], entry),
    keep=None,
    needs_from=Conversation.needs_from,
    inherit=read,
)
