"""Single values of a report as text: times, costs, arguments, and journal entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_LONG = 300


def moment(at: str | None) -> str:
    """Return a time, to the second."""
    return f"{at[:10]} {at[11:19]} UTC" if at else "-"


def text_of(value: Any) -> str:
    """Return text unchanged, anything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def cost(usage: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of a usage."""
    dollars = "-" if usage["cost_usd"] is None else f"{usage['cost_usd']:.4f}"
    counts = (usage[name] for name in ("model_calls", "tool_calls", "input_tokens", "output_tokens"))
    return (*(str(count) for count in counts), dollars)


def spent(usage: Mapping[str, Any]) -> str:
    """Return a usage as a phrase."""
    dollars = "" if usage["cost_usd"] is None else f", ${usage['cost_usd']:.4f}"
    calls = ((usage["model_calls"], "model call"), (usage["tool_calls"], "tool call"))
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in calls) + dollars


def facts_of(facts: Mapping[str, Any]) -> list[str]:
    """Return a line for each known fact about a piece of evidence."""
    return [f"{name}: {text_of(value)}" for name, value in facts.items() if value is not None]


def said(word: Mapping[str, Any]) -> str:
    """Describe a decision on an approval: the decision, its author, and its channel."""
    if word["via"] == "file" and not word["person"]:
        return f"{word['decision']}: a person, in a file in pending/approvals"
    return f"{word['decision']}: {word['person'] or word['by']} ({word['via']})"


def arguments(value: Any) -> str:
    """Return the arguments of a call: only the command or the path if that suffices."""
    if not isinstance(value, dict):
        return "" if value is None else text_of(value)
    if value.keys() == {"sha256", "bytes", "preview"}:
        return shortened(value["preview"])
    for name in ("command", "path", "pattern", "id"):
        if isinstance(value.get(name), str):
            return shortened(value[name])
    return shortened(text_of(value)) if value else ""


def shortened(text: str) -> str:
    """Return the text, truncated to a limit."""
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def what(entry: Mapping[str, Any]) -> str:
    """Describe an entry of the journal."""
    data, kind = entry["data"], entry["kind"]
    match kind:
        case "flow.started":
            return f"started {data['playbook']}@{data['version']}"
        case "phase.started":
            return f"phase {data['phase']}: attempt {data['attempt']} starts"
        case "phase.retried":
            return f"phase {data['phase']}: attempt {data['attempt']} failed and is retried: {data['reason']}"
        case "phase.blocked":
            return f"phase {data['phase']}: blocked, evidence is missing: {', '.join(data['missing'])}"
        case "phase.ended":
            return f"phase {data['phase']}: {data['status']}" + (f": {data['reason']}" if data["reason"] else "")
        case "evidence.attached":
            return f"evidence {data['id']} ({data['evidence_kind']}) for {data['phase'] or 'the whole'}"
        case "flow.cancel_requested":
            return "cancellation requested" + (f": {data['reason']}" if data["reason"] else "")
        case "flow.sealed":
            return f"sealed: {data['status']}" + (f": {data['reason']}" if data["reason"] else "")
        case "run.resumed":
            return f"run {entry['run']} continues after a restart of the daemon"
        case _:
            return _people(entry)


def _people(entry: Mapping[str, Any]) -> str:
    data = entry["data"]
    match entry["kind"]:
        case "approval.requested":
            return f"approval {data['approval_id']} asked for {data['tool']}: {arguments(data['arguments'])}"
        case "approval.resolved":
            reason = f": {data['reason']}" if data["reason"] else ""
            return f"approval {data['approval_id']} {data['outcome']} by {data['by']} ({data['via']}){reason}"
        case "question.asked":
            return f"question {data['question_id']}: {'; '.join(one['text'] for one in data['questions'])}"
        case "question.answered":
            return f"question {data['question_id']} {data['outcome']} by {data['by']}"
        case kind:
            return str(kind)
