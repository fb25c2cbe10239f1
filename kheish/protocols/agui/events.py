"""Events of a run as events of AG-UI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kheish.client.sse import Event
from kheish.client.words import Words
from kheish.store.git.textconv import visible

VERSION = "1.0"
_RESULT = 100_000
Json = dict[str, Any]


class Events:
    """The events of one run, each text once."""

    def __init__(self, run_id: str) -> None:
        self._run = run_id
        self._words = Words()
        self._open: str | None = None
        self._turn: object = None
        self._attempts = 0
        self._unread: object = None

    def of(self, event: Event) -> list[Json]:
        """Return the events that an event of the daemon stands for."""
        data = event.data
        if event.kind.startswith("model.") and data.get("turn") != self._turn:
            self._turn, self._attempts = data.get("turn"), 0
        match event.kind:
            case "model.delta":
                ended = self._end() if self._words.breaks_off(data) else []
                return [*ended, *self._said(self._words.delta(data))]
            case "model.responded":
                said = self._whole(data)
                message = self._open
                return [*said, *self._end(), *self._calls(data, message)]
            case "model.failed":
                self._words.forget()
                return self._end()
            case "tool.finished":
                return [self._result(data)]
        return []

    def finish(self, output: str | None) -> list[Json]:
        """Return the rest of a final text that no event had, and the end of the message."""
        rest = self._words.whole(self._unread, output) if self._unread is not None and output else ""
        return [*self._said(rest), *self._end()]

    def _whole(self, data: Mapping[str, Any]) -> list[Json]:
        if isinstance(data.get("text"), str):
            self._unread = None
            return self._said(self._words.whole(data.get("turn"), data["text"]))
        self._unread = data.get("turn")
        return []

    def _said(self, text: str) -> list[Json]:
        if not text:
            return []
        begun: list[Json] = []
        if self._open is None:
            self._attempts += 1
            again = f"-{self._attempts}" if self._attempts > 1 else ""
            self._open = f"{self._run}-{self._turn}{again}"  # the same for each reader of the run
            begun = [{"type": "TEXT_MESSAGE_START", "messageId": self._open, "role": "assistant"}]
        return [*begun, {"type": "TEXT_MESSAGE_CONTENT", "messageId": self._open, "delta": text}]

    def _end(self) -> list[Json]:
        id, self._open = self._open, None
        return [{"type": "TEXT_MESSAGE_END", "messageId": id}] if id is not None else []

    def _calls(self, data: Mapping[str, Any], message: str | None) -> list[Json]:
        calls = data.get("calls")
        events: list[Json] = []
        for call in calls if isinstance(calls, list) else []:
            about = {"toolCallId": self._call(call["id"])}
            parent = {"parentMessageId": message} if message is not None else {}
            events += [
                {"type": "TOOL_CALL_START", **about, "toolCallName": call["name"], **parent},
                {"type": "TOOL_CALL_ARGS", **about, "delta": json.dumps(call["arguments"], ensure_ascii=False)},
                {"type": "TOOL_CALL_END", **about},
            ]
        return events

    def _result(self, data: Mapping[str, Any]) -> Json:
        content = data["content"] if isinstance(data["content"], str) else data["content"]["preview"]
        id = self._call(data["call_id"])
        return {"type": "TOOL_CALL_RESULT", "messageId": f"{id}-result", "toolCallId": id, "role": "tool",
                "content": visible(content[:_RESULT])}  # fmt: skip

    def _call(self, id: str) -> str:
        """Return the id of a call, which is unique in its thread."""
        return f"{self._run}-{id}"


def frame(document: Json) -> bytes:
    """Return an event as it is sent."""
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"
