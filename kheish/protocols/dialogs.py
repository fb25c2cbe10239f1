"""Approvals and questions as forms that a client shows to its user, and the answers as calls of the API.

A form shows the whole of what is decided, or there is no form. Texts of agents stand in their own indented lines, where
they cannot pass for facts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kheish.client import requests
from kheish.client.call import Call
from kheish.store.git.textconv import one_line, visible

if TYPE_CHECKING:
    from kheish.client.shapes import Approval, Asked, Question

#: characters of a form: more than a user reads, and than a client shows
MOST = 20_000
_REASON = 2000
_INDENT = "    "


class NotShown(Exception):
    """The reason why a thing cannot be decided in a form, in one sentence."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form. `key` is the id of the approval or question, and `bound` stands for exactly what is shown."""

    key: str
    bound: str
    message: str
    schema: Mapping[str, Any]


def of_approval(asked: Approval, fault: str | None = None) -> Form:
    """Return the form of an approval. Raises NotShown."""
    id = asked["approval_id"]
    if asked["required"] > 1:
        raise NotShown(f"{id} needs {asked['required']} persons, whom this client cannot prove.")
    lines = [
        f"The agent of session {one_line(asked['session_id'])} wants to use {one_line(asked['tool'])} "
        f"({asked['risk']} risk).",
        f"It asks because {one_line(asked['why'])}.",
        *(f"It reads {one_line(file['path'])} (sha256 {file['sha256'] or 'unknown'})." for file in asked["files"]),
    ]
    if source := asked["came_from"].get("tainted_by"):
        lines.append(f"The conversation contains untrusted content of {one_line(str(source))}.")
    body = json.dumps(asked["arguments"], indent=2, ensure_ascii=False)
    message = _with_fault("\n".join([*lines, "The call:", _quoted(body)]), fault)
    if len(message) > MOST:
        raise NotShown(f"{id} is too long for a form.")
    schema = {
        "type": "object",
        "properties": {
            "decision": {
                "type": "string", "title": "Decision", "description": "Allow or deny this call.",
                "enum": ["allow", "deny"],
            },
            "reason": {
                "type": "string", "title": "Reason", "description": "On deny, the agent reads it.",
                "maxLength": _REASON,
            },
        },
        "required": ["decision"],
    }  # fmt: skip
    return Form(key=id, bound=asked["digest"], message=message, schema=schema)


def resolve(id: str, content: Mapping[str, Any], *, via: str = "mcp") -> Call[Any]:
    """Return the call that resolves an approval as a form was filled in. Raises ValueError."""
    decision, reason = content.get("decision"), content.get("reason")
    if decision not in ("allow", "deny"):
        raise ValueError("decision: choose allow or deny")
    return requests.resolve_approval(id, str(decision), reason=str(reason)[:_REASON] if reason else None, via=via)


def of_question(asked: Question, fault: str | None = None, *, titled: bool = True) -> Form:
    """Return the form of a question. `titled`: the client supports choices with titles (2025-11-25 and later). Raises
    NotShown."""
    items = asked["questions"]
    lines = [f"The agent of session {one_line(asked['session_id'])} asks:"]
    properties: dict[str, Any] = {}
    required: list[str] = []
    for item in items:
        lines += [_quoted(item["text"]), *(_described(option) for option in item["options"])]
        properties |= _fields(item, titled=titled)
        if item["options"] and not item["free_text"] and not item["multi_select"]:
            required.append(item["id"])
    message = _with_fault("\n".join(lines), fault)
    if len(message) > MOST:
        raise NotShown(f"{asked['question_id']} is too long for a form.")
    bound = sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()
    schema = {"type": "object", "properties": properties} | ({"required": required} if required else {})
    return Form(key=asked["question_id"], bound=bound, message=message, schema=schema)


def _fields(item: Asked, *, titled: bool) -> dict[str, Any]:
    """Return the fields of an item. Forms are flat and, for older clients, without lists: each of several options is a
    field of its own."""
    id, title, options = item["id"], one_line(item["header"] or item["id"]), item["options"]
    fields: dict[str, Any] = {}
    if item["multi_select"]:
        for option in options:
            fields[_part(id, option["id"])] = {"type": "boolean", "title": f"{title}: {one_line(option['label'])}"}
    elif options:
        labels = [one_line(option["label"]) for option in options]
        values = [option["id"] for option in options]
        pairs = [{"const": value, "title": label} for value, label in zip(values, labels, strict=True)]
        choice = {"oneOf": pairs} if titled else {"enum": values, "enumNames": labels}
        fields[id] = {"type": "string", "title": title, **choice}
    if item["free_text"] or not options:
        fields[_part(id, "text")] = {"type": "string", "title": f"{title}: in your own words", "maxLength": 20_000}
    return fields


def answer(asked: Question, content: Mapping[str, Any], *, via: str = "mcp") -> Call[Any]:
    """Return the call that answers a question as a form was filled in."""
    answers: dict[str, Any] = {}
    for item in asked["questions"]:
        id, text = item["id"], content.get(_part(item["id"], "text"))
        if item["multi_select"]:
            selected = [one["id"] for one in item["options"] if content.get(_part(id, one["id"])) is True]
        else:
            selected = [str(content[id])] if content.get(id) not in (None, "") else []
        answers[id] = {"selected": selected, "text": str(text) if text else None}
    return requests.answer_question(asked["question_id"], answers, via=via)


def _part(item: str, name: str) -> str:
    return f"{item}.{name}"


def _described(option: Mapping[str, Any]) -> str:
    about = f": {one_line(option['description'])}" if option.get("description") else ""
    return f"{_INDENT}- {one_line(option['label'])}{about}"


def _quoted(text: str) -> str:
    return "\n".join(_INDENT + line for line in visible(text).split("\n"))


def _with_fault(message: str, fault: str | None) -> str:
    return f"{message}\n\nThe last answer cannot be used: {one_line(fault)}" if fault else message
