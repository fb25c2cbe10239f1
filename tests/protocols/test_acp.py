"""What an editor is shown of long texts and equal ids, and its answers while the daemon is away."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from acp.schema import AllowedOutcome, RequestPermissionResponse

from kheish.client.sse import Event
from kheish.errors import Unreachable
from kheish.protocols.acp.asking import Asking
from kheish.protocols.acp.updates import Updates
from kheish.protocols.acp.wire import Wire
from kheish.protocols.agui.events import Events
from kheish.protocols.speech import Speech

LONG = {"sha256": "0" * 64, "bytes": 20_000, "preview": "a long"}


def event(kind: str, run: str = "run_1", **data: Any) -> Event:
    return Event(kind=kind, n=1, session="s", run=run, at=None, actor=None, data=data, raw="")


def test_a_text_that_was_too_long_for_its_event_is_shown_once() -> None:
    updates = Updates()
    assert updates.of(event("model.responded", turn=0, text=LONG)) == []
    assert updates.is_unread("run_1") and not updates.is_unread("run_2")
    (shown,) = updates.finish("run_1", "a long text")
    assert shown.content.text == "a long text" and updates.finish("run_1", "a long text") == []
    items = [{"type": "text", "text": LONG}, {"type": "asset", "asset_id": "x"}]
    (words,) = updates.of(event("run.submitted", request={"items": items}), replays=True)
    assert words.content.text == "a long…"


def test_a_short_answer_after_a_long_one_is_not_said_twice() -> None:
    turns = [event("model.responded", turn=0, text=LONG), event("model.responded", turn=1, text="done")]
    speech, events = Speech(), Events("run_1")
    assert [speech.hear(one) for one in turns] == ["", "done"] and speech.finish("done") == ""
    said = [document for one in turns for document in events.of(one)]
    assert [one["delta"] for one in [*said, *events.finish("done")] if "delta" in one] == ["done"]


def test_calls_of_different_runs_have_different_ids() -> None:
    updates = Updates()
    asked = [{"id": "call_0", "name": "bash", "arguments": {"command": "ls"}}]
    shown = [updates.of(event("model.responded", run, turn=0, text="", calls=asked)) for run in ("run_1", "run_2")]
    assert [one.tool_call_id for (one,) in shown] == ["run_1-call_0", "run_2-call_0"]
    (ended,) = updates.of(event("tool.finished", "run_2", call_id="call_0", is_error=False, content=LONG))
    assert ended.tool_call_id == "run_2-call_0" and ended.content[0].content.text == "a long…"


class Daemon:
    """Access to a daemon that is away for the first calls, and has one approval, whose call changes."""

    patience = 20.0

    def __init__(self) -> None:
        self.away, self.digests, self.resolved = 2, ["d1", "d2", "d2", "d2"], list[Any]()

    async def send(self, call: Any) -> Any:
        if call.path == "/v1/auth/login":
            return {"role": "approver", "sessions": [], "projects": []}
        if self.away:
            self.away -= 1
            raise Unreachable("away")
        if call.method == "POST":
            self.resolved.append(json.loads(call.body))
            return {}
        digest = self.digests.pop(0) if len(self.digests) > 1 else self.digests[0]
        return {"approval_id": "appr_1", "session_id": "s", "run_id": "run_1", "tool": "bash", "digest": digest,
                "files": [], "arguments": {"command": digest}, "why": "no rule", "risk": "low", "required": 1,
                "status": "pending", "came_from": {}}  # fmt: skip


class Editor:
    """An editor whose user allows everything."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    async def request_permission(self, tool_call: Any, **_: Any) -> Any:
        self.shown.append(tool_call.title)
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id="allow"))


async def test_an_answer_waits_for_the_daemon_and_counts_for_the_call_that_was_shown() -> None:
    daemon: Any = Daemon()
    editor: Any = Editor()
    wire: Any = None
    task = await Asking(daemon, editor, wire, shows_forms=False).ask("s", "appr_1")
    assert task is not None and await task is None
    assert editor.shown == ["bash: d1", "bash: d2"], "the changed call is shown again"
    assert daemon.resolved == [{"decision": "allow", "via": "acp"}]


async def test_what_is_no_message_ends_no_connection() -> None:
    reader, sent = asyncio.StreamReader(limit=64), list[Any]()

    class Writer:
        def write(self, line: bytes) -> None:
            sent.append(json.loads(line))

        async def drain(self) -> None:
            """Nothing waits."""

    writer: Any = Writer()
    wire = Wire(reader, writer)
    reader.feed_data(b"\n{\n" + b"x" * 200 + b'\n[{"id": 1}]\n{"id": 7, "result": {}}\n')
    reader.feed_eof()
    assert await wire.receive() == {"id": 7, "result": {}} and await wire.receive() is None
    assert [one["error"]["code"] for one in sent] == [-32600]
    task = asyncio.ensure_future(wire.send({"id": 8, "method": "session/request_permission"}))
    await task
    await wire.withdraw(task)
    await wire.withdraw(task)
    assert sent[2:] == [{"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": 8}}]
