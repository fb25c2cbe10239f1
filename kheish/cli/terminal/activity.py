"""The status line of a followed run: what it does, for how long, its tokens and cost, and the keys that stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from kheish.cli.cells import clip
from kheish.cli.output import counted, plain
from kheish.cli.rendering import short_call
from kheish.client.sse import Event

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PER_SECOND = 10
_CALL = 60
_WAITS = {
    "waiting_for_approval": "waiting for approval",
    "waiting_for_question": "waiting for an answer",
    "waiting_for_agent": "waiting for an agent",
}


class Activity:
    """The work of a followed run, by its events."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._since = clock()
        self._doing = "sending"
        self._calls: dict[str, str] = {}
        self._tokens = 0
        self._cost = 0.0
        self._is_estimated = False
        self.is_stopping = False
        self.note = ""  # replaces the activity, until it is cleared

    def feed(self, event: Event) -> None:
        """Note an event."""
        data = event.data
        match event.kind:
            case "run.queued" | "run.submitted":
                self._do("queued")
            case "run.started" | "run.resumed" | "model.requested" | "approval.resolved" | "question.answered":
                self._do("thinking")
            case "model.delta":
                self._do("writing")
            case "model.responded":
                self._count(data.get("usage"))
                self._do("working")
            case "model.failed":
                self._count(data.get("usage"))
                self._do("waiting for the model to be retried" if data.get("retry_in") is not None else "thinking")
            case "context.compacted":
                self._count(data.get("usage"))
            case "tool.started":
                self._calls[str(data.get("call_id"))] = plain(short_call(data))
                self._since = self._clock()
            case "tool.finished":
                self._calls.pop(str(data.get("call_id")), None)
                self._since = self._clock()
            case "run.waiting":
                self._do(_WAITS.get(str(data.get("status")), "waiting"))

    def _do(self, doing: str) -> None:
        if doing != self._doing:
            self._doing, self._since = doing, self._clock()

    def _count(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            self._tokens += int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
            self._cost += float(usage.get("cost_usd") or 0)
            self._is_estimated = self._is_estimated or bool(usage.get("estimated"))

    def line(self, width: int) -> str:
        """Return the status in one line of at most `width` columns."""
        now = self._clock()
        frame = _FRAMES[int(now * _PER_SECOND) % len(_FRAMES)]
        parts = [f"{frame} {self._what()} {_seconds(now - self._since)}"]
        if now - self._began >= now - self._since + 1:
            parts.append(f"{_seconds(now - self._began)} in all")
        if self._tokens:
            parts.append(f"{'about ' if self._is_estimated else ''}{self._tokens:,} tokens")
        if self._cost:
            parts.append(f"${self._cost:.4f}")
        keys = "Ctrl-C leaves" if self.is_stopping else "Esc stops"
        room = width - len(keys) - 3
        return clip(f"{clip(' · '.join(parts), room)} · {keys}", width)

    def _what(self) -> str:
        if self.note:
            return self.note
        if self.is_stopping:
            return "stopping"
        if len(self._calls) > 1:
            return f"running {counted(len(self._calls), 'call')}"
        for call in self._calls.values():
            return f"running {clip(call, _CALL)}"
        return self._doing


def _seconds(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02} s"


def usage_line(usage: Mapping[str, Any]) -> str:
    """Return the calls, tokens and cost of some usage."""
    tokens = int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
    parts = [counted(usage.get("model_calls") or 0, "model call"), f"{tokens:,} tokens"]
    if usage.get("cached_tokens"):
        parts.append(f"{usage['cached_tokens']:,} of them cached")
    parts.append(f"${usage['cost_usd']:.4f}" if usage.get("cost_usd") is not None else "no price is set for the route")
    return ("about " if usage.get("estimated") else "") + " · ".join(parts)
