"""Events of hooks that follow from journal entries: no run waits for them, so they decide nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kheish.domain import events
from kheish.domain.events import Entry, Spilled, frozen
from kheish.domain.hooks import eliciting, wire
from kheish.domain.hooks.answer import cut


@frozen
class Late:
    """An event: its name, the fields of its input, and the names that a matcher is compared with."""

    moment: str
    fields: dict[str, Any]
    subjects: tuple[str, ...] = ()


_STATUSES = {
    events.RunCompleted: "completed",
    events.RunFailed: "failed",
    events.RunCancelled: "cancelled",
    events.RunInterrupted: "interrupted",
}
#: the kinds of entries that hooks can follow
KINDS = frozenset({
    *_STATUSES, events.SessionEnded, events.ApprovalRequested, events.QuestionAsked, events.FlowSealed,
    events.DefinitionChanged, events.QuestionAnswered,
})  # fmt: skip


def of_entry(entry: Entry, server: str | None = None) -> Iterator[Late]:
    """Yield the events that follow from an entry. `server`: the MCP server that asks the question of the entry."""
    event: Any = entry.event
    about: dict[str, Any]
    match event:
        case events.SessionEnded(reason=reason):
            yield Late(moment="session_end", fields={"reason": reason or "other"}, subjects=(reason or "other",))
        case events.ApprovalRequested(approval_id=id, tool=tool, why=why, risk=risk):
            given = None if isinstance(event.arguments, Spilled) else dict(event.arguments)
            name = wire.shown_tool(tool)
            about = {"approval_id": id, "run_id": entry.run, "tool_name": name, "arguments": given, "why": cut(why)}
            yield Late(moment="approval_requested", fields={**about, "risk": risk}, subjects=(name, tool))
            yield _notice("permission_prompt", f"Permission is needed to use {name}: {cut(why)}")
        case events.QuestionAsked(question_id=id, purpose=purpose):
            texts = [cut(one.text) for one in event.questions]
            about = {"question_id": id, "run_id": entry.run, "purpose": purpose, "questions": texts}
            yield Late(moment="question_asked", fields=about)
            kind = "elicitation_dialog" if purpose == events.ELICITATION else "question"
            if server is not None:
                about = {"mcp_server_name": server, "elicitation_id": id, **eliciting.shown(event.questions)}
                yield Late(moment="elicitation", fields=about, subjects=(server,))
            yield _notice(kind, " ".join(texts) or "A question waits for an answer.")
        case events.QuestionAnswered(question_id=id, outcome=outcome) if server is not None:
            action = {"answered": "accept", "declined": "decline"}.get(outcome, "cancel")
            about = {"mcp_server_name": server, "elicitation_id": id, "action": action}
            yield Late(moment="elicitation_result", fields=about, subjects=(server,))
        case events.FlowSealed(flow_id=flow, status=status):
            yield Late(moment="flow_finished", fields={"flow_id": flow, "status": status}, subjects=(status,))
        case events.DefinitionChanged():
            about = {"path": event.path, "change": event.change, "fields": list(event.fields)}
            yield Late(moment="definition_changed", fields=about, subjects=(event.path, event.definition))
        case _ if type(event) in _STATUSES:
            yield from _of_end(entry, _STATUSES[type(event)])


def _of_end(entry: Entry, status: str) -> Iterator[Late]:
    event: Any = entry.event
    output = getattr(event, "output", None)
    error = getattr(event, "error", None)
    text = output.preview if isinstance(output, Spilled) else output
    failure = {"code": error.code, "message": cut(error.message)} if error is not None else None
    if error is not None:
        about = {"error": error.code, "error_details": cut(error.message)}
        yield Late(moment="stop_failure", fields=about, subjects=(error.code,))
    about = {"run_id": entry.run, "status": status, "output": None if text is None else cut(text), "error": failure}
    yield Late(moment="run_finished", fields=about, subjects=(status,))


def _notice(kind: str, message: str) -> Late:
    return Late(moment="notification", fields={"message": message, "notification_type": kind}, subjects=(kind,))
