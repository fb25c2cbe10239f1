"""Transcripts: a session's conversation in the public form of JSON lines, for hooks that read it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from kheish.domain import messages
from kheish.domain.events import Spilled
from kheish.domain.hooks import wire
from kheish.runtime import prompt
from kheish.state.state import State

_KNOWN = 512  # sessions whose files are continued instead of being rewritten


class Transcripts:
    """The files in `.kheish/transcripts/`. A file is continued with what is new; the first one of a daemon is whole."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._folder = state.root / ".kheish" / "transcripts"
        self._written: OrderedDict[str, int] = OrderedDict()  # by session: the newest message in its file
        self._locks: dict[str, asyncio.Lock] = {}

    def path(self, session_id: str) -> Path:
        """Return the place of a session's transcript."""
        return self._folder / f"{session_id}.jsonl"

    async def empty(self) -> Path:
        """Return a file without lines, for events of no session."""
        path = self._folder / "none.jsonl"
        await asyncio.to_thread(_write, path, [], "", "", {}, is_new=True, scrub=self._state.scrub)
        return path

    def forget(self, session_id: str) -> None:
        """Remove the transcript of a session that was deleted. Blocks on disk for a moment."""
        self._written.pop(session_id, None)
        self._locks.pop(session_id, None)
        self.path(session_id).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the transcripts of an earlier daemon: the next hook rebuilds each. Blocks on disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def render(self, session_id: str, workspace: str) -> Path:
        """Write what is new, and return the file."""
        path, lock = self.path(session_id), self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            known = self._state.table(messages.Conversation, session_id).get(session_id)
            after = self._written.get(session_id)
            fresh = list(_after(known.messages if known else [], -1 if after is None else after))
            spilled = await prompt.read_spilled(self._state, session_id, fresh)
            last = await asyncio.to_thread(
                _write, path, fresh, session_id, workspace, spilled, is_new=after is None, scrub=self._state.scrub
            )
            self._written[session_id] = last if last is not None else -1 if after is None else after
            self._written.move_to_end(session_id)
            while len(self._written) > _KNOWN:
                self._locks.pop(self._written.popitem(last=False)[0], None)
        return path


def _after(known: list[messages.Message], seq: int) -> Iterator[messages.Message]:
    """Yield the messages behind an entry; they are in the order of the journal, and summaries first."""
    end = len(known)
    while end and known[end - 1].seq > seq:
        end -= 1
    yield from known[end:]


def _write(
    path: Path,
    fresh: list[messages.Message],
    session_id: str,
    workspace: str,
    spilled: Mapping[str, str],
    *,
    is_new: bool,
    scrub: Any,
) -> int | None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if is_new else os.O_APPEND)
    with os.fdopen(os.open(path, mode, 0o600), "wb") as file:
        for message in fresh:
            for line in _lines(message, session_id, workspace, spilled):
                file.write(scrub(orjson.dumps(line)) + b"\n")
    return max((message.seq for message in fresh), default=None)


def _lines(
    message: messages.Message, session_id: str, workspace: str, spilled: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield the lines of a message."""

    def text(value: str | Spilled) -> str:
        return spilled[value.sha256] if isinstance(value, Spilled) else value

    content: Any
    match message.role:
        case "assistant":
            content = [{"type": "text", "text": text(message.text)}] if message.text else []
            for call in message.calls:
                asked = json.loads(text(call.arguments)) if isinstance(call.arguments, Spilled) else call.arguments
                given = wire.tool_input(call.name, asked, workspace)
                name = wire.shown_tool(call.name)
                content.append({"type": "tool_use", "id": call.id, "name": name, "input": given})
        case "tool":
            result = {"type": "tool_result", "tool_use_id": message.call_id, "content": text(message.text)}
            content = [{**result, "is_error": message.is_error}]
        case "user" | "mail":
            content = "\n\n".join(text(item.text) for item in message.items if item.text is not None)
        case "ended":
            return
        case _:
            content = text(message.text)
    role = "assistant" if message.role == "assistant" else "user"
    yield {
        "type": role, "sessionId": session_id, "uuid": f"{session_id}:{message.seq}", "cwd": workspace,
        "message": {"role": role, "content": content},
    }  # fmt: skip
