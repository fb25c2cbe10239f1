"""The spans of a run, from the lines of its journal. They have the events' own times, so a wait costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kheish.domain.traces import root_id, span_id, trace_id
from kheish.runtime.traces import genai
from kheish.runtime.traces.span import Moment, Span, Value, nanoseconds

Line = Mapping[str, Any]
FINAL = ("run.completed", "run.failed", "run.cancelled", "run.interrupted")
_MOMENTS = (
    "run.waiting",
    "run.resumed",
    "approval.requested",
    "approval.resolved",
    "question.asked",
    "context.compacted",
)


def of(run_id: str, session_id: str, lines: Sequence[Line], *, content: bool = False) -> list[Span]:
    """Return the spans of an ended run: its own, which is the parent of the others, its model calls and tool calls."""
    return _Run(run_id, session_id, content).spans(lines)


class _Run:
    """The spans of one run as they are built."""

    def __init__(self, run_id: str, session_id: str, content: bool) -> None:
        self._run_id = run_id
        self._session_id = session_id
        self._has_content = content
        self._trace = trace_id(run_id)
        self._root = root_id(run_id)
        self._open: dict[tuple[Any, ...], Line] = {}
        self._made: list[Span] = []

    def spans(self, lines: Sequence[Line]) -> list[Span]:
        """Return the spans, those that began first first."""
        submitted: Mapping[str, Any] = {}
        start: str | None = None
        moments: list[Moment] = []
        for line in lines:
            kind, data = line["kind"], line["data"]
            if kind == "run.submitted":
                submitted, start = data, start or line["at"]
            elif kind == "run.started":
                start = line["at"]
            elif kind in _MOMENTS:
                moments.append(Moment(name=kind, at=nanoseconds(line["at"]), attributes=_named(data)))
            self._take(line)
        last = lines[-1]
        for key, line in self._open.items():  # a kill came before their end
            self._close(key, line, last["at"], genai.failure("interrupted"), "interrupted")
        root = self._of_run(submitted, start or last["at"], last, moments)
        return [root, *sorted(self._made, key=lambda span: (span.start, span.span_id))]

    def _of_run(self, submitted: Mapping[str, Any], start: str, last: Line, moments: Sequence[Moment]) -> Span:
        attributes = genai.agent(self._run_id, self._session_id, submitted)
        attributes["kheish.run.status"] = last["kind"].removeprefix("run.")
        error = None
        if last["kind"] == "run.failed":
            error = last["data"]["error"]["message"]
            attributes |= genai.failure(last["data"]["error"]["code"])
        if self._has_content:
            attributes |= genai.task(submitted)
        return Span(
            name=genai.agent_name(),
            trace_id=self._trace,
            span_id=self._root,
            parent_id=None,
            start=nanoseconds(start),
            end=nanoseconds(last["at"]),
            attributes=attributes,
            moments=tuple(moments),
            error=error,
            link=submitted.get("traceparent"),
        )

    def _take(self, line: Line) -> None:
        kind, data, at = line["kind"], line["data"], line["at"]
        match kind:
            case "model.requested":
                self._lose(("model", data.get("purpose", "turn")), at)
                self._open["model", data.get("purpose", "turn")] = line
            case "model.responded":
                more = genai.response(data) | (genai.answer(data) if self._has_content else {})
                self._end(("model", "turn"), at, more)
            case "context.compacted":
                self._end(("model", "compaction"), at, genai.response(data))
            case "model.failed":
                more = genai.response(data) | genai.failure(data["error_kind"])
                self._end(("model", data.get("purpose", "turn")), at, more, data["error"]["message"])
            case "tool.started":
                self._open["tool", data["call_id"]] = line
            case "tool.finished":
                more = genai.result(data) if self._has_content else {}
                failed = data.get("code") or "tool_error" if data["is_error"] else None
                self._end(("tool", data["call_id"]), at, more | (genai.failure(failed) if failed else {}), failed)

    def _lose(self, key: tuple[Any, ...], at: str) -> None:
        """Close a span whose end is missing: a kill came, and the step was repeated."""
        if (line := self._open.pop(key, None)) is not None:
            is_answered = key == ("model", "hook")  # the end of a hook's call is not journaled by itself
            reason = None if is_answered else "interrupted"
            self._close(key, line, at, genai.failure(reason) if reason else {}, reason)

    def _end(self, key: tuple[Any, ...], at: str, more: Mapping[str, Value], error: str | None = None) -> None:
        if (line := self._open.pop(key, None)) is not None:
            self._close(key, line, at, more, error)

    def _close(self, key: tuple[Any, ...], line: Line, at: str, more: Mapping[str, Value], error: str | None) -> None:
        data, is_model = line["data"], key[0] == "model"
        if is_model:
            parts: tuple[str | int, ...] = ("model", data.get("purpose", "turn"), data["turn"], data["attempt"])
            parts = (*parts, line["n"]) if data.get("purpose") == "hook" else parts
            name, attributes = genai.chat_name(data.get("model")), genai.request(data)
        else:
            parts = ("tool", data["call_id"])
            name, attributes = genai.tool_name(data["tool"]), genai.tool(data)
            attributes |= genai.arguments(data) if self._has_content else {}
        self._made.append(
            Span(
                name=name,
                trace_id=self._trace,
                span_id=span_id(self._run_id, *parts),
                parent_id=self._root,
                start=nanoseconds(line["at"]),
                end=nanoseconds(at),
                kind="client" if is_model else "internal",
                attributes={**attributes, **more},
                error=error,
            )
        )


def _named(data: Mapping[str, Any]) -> dict[str, Value]:
    """Return the ids and statuses of an event, which are no content."""
    names = ("status", "reason", "approval_id", "question_id", "tool", "decision")
    return {f"kheish.{name}": data[name] for name in names if isinstance(data.get(name), str) and name != "reason"}
