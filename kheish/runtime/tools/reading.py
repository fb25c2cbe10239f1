"""Reading a background command's output: from its job while it runs, from the journal afterwards."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kheish.domain import events
from kheish.domain.events import Spilled
from kheish.domain.sessions.session import Session
from kheish.domain.tasks.task import FINAL, Task
from kheish.errors import NotFound
from kheish.jobs.commands import Commands
from kheish.runtime.tools import shell
from kheish.state.state import State

_SHOWN_BYTES = 30 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A piece of a task's output. `next` is the start of the following piece, `total` the current length, in bytes."""

    text: str
    start: int
    next: int
    total: int


async def see(state: State, jobs: Commands, task: Mapping[str, Any], offset: int | None, tail: int | None) -> Seen:
    """Return what a background command has written from an offset on, or its end; of another task, its output. Raises
    NotFound, Damaged."""
    if task["status"] not in FINAL and task["shell"] is not None:
        try:
            begin, data, total = await jobs.output(task["shell"]["job"], offset, _SHOWN_BYTES)
            return _lines(_decoded(begin, data, total), tail)
        except NotFound:  # it ended at this moment
            task = await state.recall(Task, task["task_id"]) or task
    raw = (await _sealed(state, task)).encode()
    start = max(0, len(raw) - _SHOWN_BYTES) if offset is None else min(offset, len(raw))
    return _lines(_decoded(start, raw[start : start + _SHOWN_BYTES], len(raw)), tail)


async def _sealed(state: State, task: Mapping[str, Any]) -> str:
    """Return the output of an ended task, from its journal."""
    output = task["output"]
    if not isinstance(output, dict):
        return output or ""
    session = await state.recall(Session, task["session_id"])
    assert session is not None
    return await state.payloads.text(session["path"], Spilled(**output))


def _decoded(begin: int, data: bytes, total: int) -> Seen:
    """Return the bytes as text, without partial characters at both ends."""
    if begin:
        lead = next((at for at, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
        begin, data = begin + lead, data[lead:]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return Seen(text=text, start=begin, next=begin + len(data) - len(decoder.getstate()[0]), total=total)


def _lines(seen: Seen, tail: int | None) -> Seen:
    if tail is None:
        return seen
    text = "".join(seen.text.splitlines(keepends=True)[-tail:])
    return Seen(text=text, start=seen.next - len(text.encode()), next=seen.next, total=seen.total)


def standing(task: Mapping[str, Any]) -> str:
    """Describe whether it runs, or how it ended."""
    if task["status"] not in FINAL:
        return "running"
    facts = task["shell"]
    if facts["lost"]:
        return "its process was killed, so its outcome is unknown; it may or may not have done its work"
    ending = events.ShellEnding(
        exit_status=facts["exit_status"],
        signal=facts["signal"],
        timed_out=facts["timed_out"],
        stopped=facts["stopped"],
        exceeded=facts.get("exceeded"),  # older Records have none of these
        ended=facts.get("ended", 0),
        left=facts.get("left", 0),
    )
    how = shell.told(ending, facts["timeout"]) or "ended with exit status 0"
    return "; ".join(filter(None, (how, shell.accounted(ending))))
