"""Conversion of a run's events to text for a terminal: the agent's words, its tool calls, their results and diffs.

The module neither prints nor prompts, so that tests need events only. `words.py` handles the streaming.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kheish.cli.output import counted, paint, plain, shorten
from kheish.client.sse import Event
from kheish.client.words import BROKEN_OFF, Words

Data = Mapping[str, Any]
#: a line and its style
Line = tuple[str, dict[str, Any]]

#: the colours of a run's, a Flow's and a phase's status
TONES = {"completed": "green", "succeeded": "green", "satisfied": "green", "failed": "red", "cancelled": "red"}
#: results of calls that did not run: the preceding decision already shows them
_SAID = frozenset({"permission_denied", "approval_denied", "approval_expired", "approval_cancelled"})
_SHORT = 100
_WIDE = 200
#: the most informative argument of a call, by priority
_TELLING = ("command", "pattern", "path", "ref", "url", "query", "content", "text")


@dataclass(frozen=True, slots=True)
class Limits:
    """The part of a result that is shown."""

    lines: int = 6
    diff_lines: int = 60
    columns: int = _WIDE


FOLDED = Limits()
WHOLE = Limits(sys.maxsize, sys.maxsize, sys.maxsize)


class Rendering:
    """The terminal output of one followed run; `feed` returns the text to print next, with its line breaks.

    `asks`: the caller prompts for pending decisions and shows them in full. A line about one is held back, and printed
    only if another user decides.
    """

    def __init__(self, paint: Callable[..., str] = paint, *, asks: bool = False) -> None:
        self._paint = paint
        self._asks = asks
        self._held: dict[str, list[Line]] = {}
        self._labels: dict[tuple[str, str], str] = {}
        self._diffs: set[str] = set()
        self._words = Words()
        self._line_open = False
        self._calls: dict[str, str] = {}
        self._last_call: str | None = None

    def feed(self, event: Event) -> str:
        """Return the text to print for `event`, which may be empty."""
        match event.kind:
            case "model.delta":
                return self._delta(event.data)
            case "model.responded":
                out = self._inline(self._words.whole(event.data.get("turn"), text_of(event.data.get("text"))))
                return out + self.fresh_line()
            case "model.failed":
                self._words.forget()
        lines = self._of_call(event) or self._of_request(event) or _LINES.get(event.kind, _silent)(event.data)
        return self.block(lines)

    def asked(self, id: str, diff: str | None = None) -> None:
        """Record that an approval or question was shown by a prompt, with its diff."""
        self._held.pop(id, None)
        if diff:
            self._diffs.add(plain(diff))

    def _of_request(self, event: Event) -> list[Line]:
        """Return the lines about approvals and questions; hold requests back if the caller prompts for them."""
        data = event.data
        id = str(data.get("approval_id") or data.get("question_id"))
        match event.kind:
            case "approval.requested":
                lines = _requested(data)
            case "question.asked":
                self._keep_labels(id, data)
                lines = [(f"? {one.get('text')}", {"fg": "yellow"}) for one in data.get("questions") or []]
            case "approval.decided" | "approval.resolved":
                return self._held.pop(id, []) + (_resolved if event.kind == "approval.resolved" else _one_of_two)(data)
            case "question.answered":
                return self._held.pop(id, []) + self._answered(id, data)
            case _:
                return []
        if not self._asks:
            return lines
        self._held[id] = lines
        return []

    def _keep_labels(self, id: str, data: Data) -> None:
        for one in data.get("questions") or []:
            for option in one.get("options") or []:
                self._labels[f"{id}/{one.get('id')}", str(option.get("id"))] = str(option.get("label"))

    def _answered(self, id: str, data: Data) -> list[Line]:
        if data.get("outcome") not in (None, "answered"):
            return [(f"  {data.get('outcome')} by {data.get('by')}", {"fg": "red"})]
        said = []
        for item, one in (data.get("answers") or {}).items():
            if isinstance(one, Mapping):
                names = [str(name) for name in one.get("selected") or []]
                chosen = [self._labels.get((f"{id}/{item}", name), name) for name in names]
                said.append(", ".join([*chosen, *([one["text"]] if one.get("text") else [])]))
        return [(f"  answered: {'; '.join(said)}", {"fg": "green"})]

    def fresh_line(self) -> str:
        """Return a line break if the last line has not ended."""
        was_open, self._line_open = self._line_open, False
        return "\n" if was_open else ""

    def _delta(self, frame: Data) -> str:
        broken = self.block([(BROKEN_OFF, {"dim": True})]) if self._words.breaks_off(frame) else ""
        return broken + self._inline(self._words.delta(frame))

    def words(self, text: str) -> str:
        """Return the next words of the agent for printing."""
        self._line_open = not text.endswith("\n")
        return text

    def _inline(self, text: str) -> str:
        shown = plain(text)
        if not shown:
            return ""
        self._last_call = None
        return self.words(shown)

    def block(self, lines: list[Line]) -> str:
        """Return lines of the program, on lines of their own."""
        if not lines:
            return ""
        return self.fresh_line() + "".join(self._paint(plain(text), **style) + "\n" for text, style in lines)

    def _of_call(self, event: Event) -> list[Line]:
        call = str(event.data.get("call_id"))
        if event.kind == "tool.started":
            self._calls[call] = self._last_call = short_call(event.data)
            # `question.asked` follows, and is more readable.
            asks = event.data.get("tool") == "ask_user_question"
            return [] if asks else [(f"→ {self._last_call}", {"fg": "cyan"})]
        if event.kind == "tool.finished":
            head = self._calls.pop(call, str(event.data.get("tool")))
            # Parallel calls: name the call that this result belongs to.
            whose: list[Line] = [] if head == self._last_call else [(f"← {head}", {"fg": "cyan"})]
            self._last_call = None
            if event.data.get("tool") == "ask_user_question" and not event.data.get("is_error"):
                return []  # `question.answered` shows it
            if event.data.get("code") in _SAID:
                return []
            return whose + self.outcome(head, event.data)
        return []

    def outcome(self, call: str, data: Data) -> list[Line]:
        """Return the result of a call."""
        return self.result(data, FOLDED)

    def result(self, data: Data, limits: Limits) -> list[Line]:
        """Return the part of a result, or of its diff, that is within limits."""
        detail = data.get("detail") or {}
        diff = detail.get("diff") if isinstance(detail, Mapping) else None
        if data.get("is_error"):
            return _failure(data, detail, limits)
        if diff and plain(text_of(diff)) not in self._diffs:
            return diff_lines(text_of(diff), limits.diff_lines)
        return _result(text_of(data.get("content")), {"dim": True}, limits)


def short_call(data: Data) -> str:
    """Return a tool call in one line: `bash: python -m pytest -q`."""
    arguments = data.get("arguments")
    said = ""
    if data.get("tool") == "phase" and isinstance(arguments, Mapping) and "phase" in arguments:
        return f"phase: {arguments.get('when')} {arguments['phase']}"
    if isinstance(arguments, Mapping) and not _spilled(arguments):
        telling = next((arguments[name] for name in _TELLING if isinstance(arguments.get(name), str)), None)
        said = telling if telling is not None else json.dumps(arguments, ensure_ascii=False) if arguments else ""
    elif arguments:
        said = text_of(arguments)
    more = said.strip().count("\n")
    short = shorten(said, _SHORT) + (f" (+{counted(more, 'line')})" if more else "")
    return f"{data.get('tool')}: {short}" if short else str(data.get("tool"))


def text_of(value: Any) -> str:
    """Return a text of an event, or the preview of a spilled one."""
    if _spilled(value):
        spill = value.get("spill", value)
        return f"{spill.get('preview', '')}\n… ({spill.get('bytes')} bytes in all, in spill/{spill.get('sha256')})"
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def diff_lines(diff: str, at_most: int = FOLDED.diff_lines) -> list[Line]:
    """Return the lines of a unified diff, added ones green and removed ones red."""
    return _first([("  " + line, _diff_style(line)) for line in diff.rstrip("\n").split("\n")], at_most)


def _failure(data: Data, detail: object, limits: Limits) -> list[Line]:
    """Return the last lines of a failed call, which have the reason and the exit status."""
    content = text_of(data.get("content"))
    status = detail.get("exit_status") if isinstance(detail, Mapping) else None
    if _spilled(data.get("content")) and status:  # the preview lacks the end
        content += f"\n[exit status {status}]"
    lines = content.rstrip("\n").split("\n")
    left = len(lines) - limits.lines
    head: list[Line] = [(f"  … {left} line{'s' if left > 1 else ''} before", {"dim": True})] if left > 0 else []
    return head + [("  " + _cut(line, limits), {"fg": "red"}) for line in lines[-limits.lines :]]


def _result(content: str, style: dict[str, Any], limits: Limits = FOLDED) -> list[Line]:
    lines = content.rstrip("\n").split("\n")
    return _first([("  " + _cut(line, limits), style) for line in lines], limits.lines)


def _cut(line: str, limits: Limits) -> str:
    return line if len(line) <= limits.columns else line[: limits.columns] + "…"


def _first(lines: list[Line], at_most: int) -> list[Line]:
    more = len(lines) - at_most
    rest: list[Line] = [(f"  … {more} more line{'s' if more > 1 else ''}", {"dim": True})] if more > 0 else []
    return lines[:at_most] + rest


def _diff_style(line: str) -> dict[str, Any]:
    if line.startswith(("+++", "---")):
        return {"bold": True}
    return {"fg": {"+": "green", "-": "red", "@": "cyan"}[line[0]]} if line[:1] in tuple("+-@") else {}


def _silent(_: Data) -> list[Line]:
    return []


def _failed(data: Data) -> list[Line]:
    again = data.get("retry_in")
    then = f"; retry in {again:.2g} s" if isinstance(again, (int, float)) else ""
    waits = f"; waiting for the server of route {data.get('route')}" if data.get("patient") else ""
    return [(f"! the model call failed: {_message(data.get('error'))}{waits}{then}", {"fg": "yellow"})]


def _decided(data: Data) -> list[Line]:
    if data.get("decision") != "deny":
        return []
    return [(f"✗ {data.get('tool')} is not allowed: {data.get('why')}", {"fg": "red"})]


def _requested(data: Data) -> list[Line]:
    if data.get("tool") == "phase":
        return [(f"? {data.get('why')}", {"fg": "yellow"})]
    return [(f"? asks to use {short_call(data)}", {"fg": "yellow"}), (f"  {data.get('why')}", {"dim": True})]


def _resolved(data: Data) -> list[Line]:
    outcome = str(data.get("outcome") or data.get("decision"))
    reason = f": {data['reason']}" if data.get("reason") else ""
    return [(f"  {outcome} by {data.get('by')}{reason}", {"fg": "green" if outcome.startswith("allow") else "red"})]


def _one_of_two(data: Data) -> list[Line]:
    return [(f"  allowed by {data.get('person')}; a second person must allow it, too", {"fg": "yellow"})]


def _checked(data: Data) -> list[Line]:
    found = [one for one in data.get("findings") or [] if isinstance(one, Mapping) and one.get("met") is not None]
    met = sum(bool(one["met"]) for one in found)
    if not found:  # only prose requirements, which the daemon cannot check
        return []
    return [(f"(completion: {met} of {len(found)} requirements met)", {"dim": True})]


def _mode(data: Data) -> list[Line]:
    return [(f"(permission mode: {data.get('mode')})", {"dim": True})]


def _emitted(data: Data) -> list[Line]:
    return [("» output", {"bold": True}), *_result(text_of(data.get("content")), {})]


def _todo(data: Data) -> list[Line]:
    marks = {"completed": "[x]", "in_progress": "[>]"}
    return [
        (f"  {marks.get(str(one.get('status')), '[ ]')} {one.get('content')}", {"dim": True})
        for one in data.get("items") or []
        if isinstance(one, Mapping)
    ]


def _nudged(data: Data) -> list[Line]:
    return [(f"(message to the model: {shorten(str(data.get('text')), _SHORT)})", {"dim": True})]


def _hooked(data: Data) -> list[Line]:
    """Return the words of hooks for users, and those that refused or failed."""
    lines: list[Line] = []
    for one in data.get("outcomes") or []:
        if one.get("result") in ("blocked", "failed", "untrusted"):
            style = {"fg": "yellow"} if one["result"] != "blocked" else {"dim": True}
            lines.append((f"(hook {one['hook']} {one['result']}: {shorten(str(one.get('reason')), _WIDE)})", style))
        if one.get("system_message"):
            lines.append((f"(hook {one['hook']}: {one['system_message']})", {"fg": "yellow"}))
    return lines


def _checking(_: Data) -> list[Line]:
    return [("(checking completion requirements)", {"dim": True})]


def _compacted(data: Data) -> list[Line]:
    how = "summarised" if data.get("made_by") != "daemon" else "shortened: no summary was available"
    return [(f"(earlier messages were {how})", {"dim": True})]


def _left_out(data: Data) -> list[Line]:
    """Return what did not fit into the prompt, on the first turn only: later turns would repeat it."""
    omitted = data.get("omitted") if data.get("turn") == 0 else None
    return [(f"(the model's window is small: {' '.join(map(str, omitted))})", {"dim": True})] if omitted else []


def _resumed(data: Data) -> list[Line]:
    return [("(the daemon was restarted; the run continues)", {"dim": True})] if data.get("reason") == "restart" else []


def _phase_started(data: Data) -> list[Line]:
    attempt = f" (attempt {data['attempt']})" if data["attempt"] > 1 else ""
    return [(f"── {data['phase']}{attempt}", {"bold": True})]


def _phase_retried(data: Data) -> list[Line]:
    return [(f"── {data['phase']} failed and is retried: {data['reason']}", {"fg": "yellow"})]


def _phase_blocked(data: Data) -> list[Line]:
    return [(f"── {data['phase']} is blocked: {', '.join(data['missing'])} is missing", {"fg": "yellow"})]


def _phase_ended(data: Data) -> list[Line]:
    why = f": {data['reason']}" if data["reason"] else ""
    return [(f"── {data['phase']} {data['status']}{why}", {"fg": TONES.get(data["status"])})]


def _attached(data: Data) -> list[Line]:
    refers = f" → {data['ref']}" if data["ref"] else ""
    return [(f"  evidence {data['id']} ({data['evidence_kind']}){refers}", {"fg": "green"})]


def _returned(data: Data) -> list[Line]:
    """Return the lines about files that differ here from the result of a worker; none if all were written."""
    conflicts, refused = list(data.get("conflicts") or []), dict(data.get("refused") or {})
    lines: list[Line] = [(f"! {path}: changed here as well; it stays as it is", {"fg": "yellow"}) for path in conflicts]
    lines += [(f"! {path}: not taken from the worker: {why}", {"fg": "yellow"}) for path, why in refused.items()]
    if lines and data.get("ref"):
        lines.append((f"  the worker's files: git fetch {data.get('repository')} {data.get('ref')}", {"dim": True}))
    return lines


_LINES: dict[str, Callable[[Data], list[Line]]] = {
    "model.failed": _failed,
    "model.requested": _left_out,
    "permission.decided": _decided,
    "completion.checked": _checked,
    "run.mode_changed": _mode,
    "output.emitted": _emitted,
    "todo.written": _todo,
    "run.nudged": _nudged,
    "hooks.ran": _hooked,
    "context.compacted": _compacted,
    "completion.started": _checking,
    "run.resumed": _resumed,
    "phase.started": _phase_started,
    "phase.retried": _phase_retried,
    "phase.blocked": _phase_blocked,
    "phase.ended": _phase_ended,
    "evidence.attached": _attached,
    "run.workspace_returned": _returned,
}


def _spilled(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("spill"), Mapping) or {"sha256", "bytes", "preview"} == set(value)


def _message(value: Any) -> str:
    return str(value.get("message") or value.get("code")) if isinstance(value, Mapping) else text_of(value)
