"""Reads the files under `pending/`: what the daemon asked must stand there unchanged, what a person filled in is taken.

approval:  `decision: allow | deny`, `reason:`
question:  `answers: {q1: option id | [option ids] | {text: …}}`, `decline:`
proposal:  `decision: accept | reject`, `reason:`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kheish.store.edits import problems as words
from kheish.store.edits import yaml12
from kheish.store.edits.problems import Problem, Severity
from kheish.store.edits.yaml12 import Keys, ListNode, MapNode, Mark, Node, ScalarNode
from kheish.store.log import records

PendingNoun = Literal["approval", "question", "memory_proposal"]
#: the fields of a pending file, in this order (`shapes.md`)
PENDING: Mapping[PendingNoun, tuple[str, ...]] = {
    "approval": ("approval_id", "session_id", "run_id", "tool", "arguments", "preview", "why", "requested_at"),
    "question": ("question_id", "session_id", "run_id", "status", "questions", "asked_at", "expires_at"),
    "memory_proposal": (
        "proposal_id", "session_id", "run_id", "by", "path", "operation", "new_path", "diff", "is_whole", "tainted_by",
        "status", "at",
    ),
}  # fmt: skip
#: the fields that a user fills in
FORM: Mapping[PendingNoun, tuple[str, ...]] = {
    "approval": ("decision", "reason"),
    "question": ("answers", "decline"),
    "memory_proposal": ("decision", "reason"),
}


def pending_fields(noun: PendingNoun, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a pending file; a preview only if there is one."""
    return {key: document[key] for key in PENDING[noun] if key != "preview" or document.get(key) is not None}


@dataclass(frozen=True, slots=True)
class Decided:
    """An approval's file, filled in."""

    decision: Literal["allow", "deny"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A proposal's file, filled in."""

    decision: Literal["accept", "reject"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Answered:
    """A question's file, filled in: `{item id: {selected, text}}`."""

    answers: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Declined:
    """A question's file with a reason for not answering."""

    reason: str


@dataclass(slots=True)
class Form:
    """A parsed file: its content (None: nothing yet, or ambiguous), and its problems."""

    path: str
    filled: Decided | Reviewed | Answered | Declined | None
    problems: list[Problem]
    root: MapNode

    def at(
        self, keys: Keys, message: str, *, code: str = "bad_value", suggestion: str | None = None, key: bool = False,
        severity: Severity = "error",
    ) -> Problem:  # fmt: skip
        """Return a problem at a place in the file."""
        mark = words.locate(self.root, keys, key=key)
        return Problem(self.path, *words.place(mark), severity, code, message, suggestion, words.pointer(keys))


def read(noun: PendingNoun, raw: bytes, path: str, document: Mapping[str, Any]) -> Form:
    """Read a pending file of `document` (the approval or question as the API shows it)."""
    text, flaw = yaml12.decode(raw)
    tree, flaws = yaml12.read(text) if flaw is None else (None, [flaw])
    problems = words.from_flaws(path, flaws)
    if not isinstance(tree, MapNode):
        if not problems:
            message = "the file must hold the question and its answer, as the daemon wrote it; remove it to get it back"
            problems = [Problem(path, 1, 1, "error", "wrong_type", message)]
        return Form(path, None, problems, MapNode(Mark(1, 1)))
    form = Form(path, None, problems, tree)
    form.problems += _check_unchanged(form, noun, document)
    filled = _question(form, document) if noun == "question" else _decision(form, noun)
    if not any(problem.severity == "error" for problem in form.problems):
        form.filled = filled
    return form


def is_untouched(noun: PendingNoun, raw: bytes, document: Mapping[str, Any]) -> bool:
    """Return whether the file is as the daemon wrote it, not filled in."""
    return raw == _asked(noun, {**document, "status": "pending"})


def is_part(noun: PendingNoun, raw: bytes, document: Mapping[str, Any]) -> bool:
    """Return whether this is a proper part of the daemon's text: a prefix of it, possibly with zero bytes in it."""
    whole = _asked(noun, {**document, "status": "pending"})
    return (
        raw != whole
        and len(raw) <= len(whole)
        and all(actual in (0, asked) for actual, asked in zip(raw, whole, strict=False))
    )


def _asked(noun: PendingNoun, document: Mapping[str, Any]) -> bytes:
    return records.pending_file(noun, pending_fields(noun, document))


def _check_unchanged(form: Form, noun: PendingNoun, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each of the daemon's keys that was changed, and for each unknown key."""
    asked = records.read(_asked(noun, document))
    mine = FORM[noun]
    for key in form.root.items:
        if key not in asked and key not in mine:
            near = words.nearest(key, mine)
            hint = f"; did you mean {near!r}?" if near else f"; only {' and '.join(mine)} are to be filled in"
            yield form.at((key,), f"unknown key {key!r}{hint}", code="unknown_key", suggestion=near, key=True)
    for key, value in asked.items():
        if key in mine:
            continue
        if key not in form.root.items:
            message = f"{key!r} was removed; only {' and '.join(mine)} may be changed: restore it"
            yield form.at((key,), message, code="changed_key")
        elif yaml12.plain(form.root.items[key]) != value:
            message = f"{key!r} was changed; only {' and '.join(mine)} may be changed: restore it"
            yield form.at((key,), message, code="changed_key", key=True)


# --- approvals and proposals ------------------------------------------------------------------------------------------


def _decision(form: Form, noun: PendingNoun) -> Decided | Reviewed | None:
    decision, reason = _read_text(form, "decision"), _read_text(form, "reason")
    choices = ("allow", "deny") if noun == "approval" else ("accept", "reject")
    if not decision:
        return None
    if decision in choices:
        match decision:
            case "allow" | "deny":
                return Decided(decision, reason or None)
            case "accept" | "reject":
                return Reviewed(decision, reason or None)
    near = words.nearest(decision, choices)
    hint = f"; did you mean {near!r}?" if near else ""
    message = f"write {' or '.join(choices)}, not {decision!r}{hint}"
    form.problems.append(form.at(("decision",), message, suggestion=near))
    return None


def _read_text(form: Form, key: str) -> str:
    """Return the typed text, or an empty text."""
    node = form.root.items.get(key)
    if isinstance(node, MapNode | ListNode):
        form.problems.append(form.at((key,), f"{key!r} takes text", code="wrong_type"))
        return ""
    return _text(node)


def _text(node: Node | None) -> str:
    is_text = isinstance(node, ScalarNode) and node.value is not None
    return node.text.strip() if is_text and isinstance(node, ScalarNode) else ""


# --- questions --------------------------------------------------------------------------------------------------------


def _question(form: Form, document: Mapping[str, Any]) -> Answered | Declined | None:
    items = {item["id"]: item for item in document["questions"]}
    answers = dict(_answers(form, items))
    reason = _read_text(form, "decline")
    if reason and answers:
        form.problems.append(form.at(("decline",), "answer, or decline with a reason, not both", key=True))
        return None
    if reason:
        return Declined(reason)
    if not answers:
        return None
    missing = [id for id in items if id not in answers]
    for id in missing:
        message = f"{id!r} has no answer yet; the others wait for it"
        form.problems.append(form.at(("answers", id), message, code="missing_answer", severity="warning", key=True))
    return None if missing else Answered(answers)


def _answers(form: Form, items: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    node = form.root.items.get("answers")
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return
    if not isinstance(node, MapNode):
        message = f"write an answer for each of {', '.join(items)}, such as {next(iter(items))}: option"
        form.problems.append(form.at(("answers",), message, code="wrong_type"))
        return
    for id, given in node.items.items():
        if id not in items:
            near = words.nearest(id, items)
            hint = f"; did you mean {near!r}?" if near else f"; there are: {', '.join(items)}"
            form.problems.append(
                form.at(
                    ("answers", id), f"there is no question {id!r}{hint}", code="unknown_key", suggestion=near, key=True
                )
            )
        elif answer := _answer(form, id, given, items[id]):
            yield id, answer


def _answer(form: Form, id: str, given: Node, item: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return one answer; None if it is missing or invalid."""
    keys: Keys = ("answers", id)
    match given:
        case ScalarNode():
            return {"selected": [given.text.strip()], "text": None} if _chosen(form, keys, given, item) else None
        case ListNode():
            chosen = [_chosen(form, (*keys, at), choice, item) for at, choice in enumerate(given.items)]
            return {"selected": chosen, "text": None} if chosen and all(chosen) else None
        case MapNode():
            for key in given.items.keys() - {"text", "selected"}:
                message = f"unknown key {key!r}; write {{text: …}}"
                form.problems.append(form.at((*keys, key), message, code="unknown_key", key=True))
            picked = given.items.get("selected")
            nodes = picked.items if isinstance(picked, ListNode) else [picked] if picked is not None else []
            selected = [_chosen(form, (*keys, "selected"), choice, item) for choice in nodes]
            text = _text(given.items.get("text"))
            return {"selected": [one for one in selected if one], "text": text or None} if text or selected else None


def _chosen(form: Form, keys: Keys, node: Node, item: Mapping[str, Any]) -> str:
    """Return the option that a node names; empty if it names none (which is a problem, unless the field is empty)."""
    typed = _text(node)
    options = [option["id"] for option in item["options"]]
    if typed in options or (not typed and isinstance(node, ScalarNode)):
        return typed
    near = words.nearest(typed, options) if typed else None
    hint = f"; did you mean {near!r}?" if near else ""
    free = "; for an answer of your own write {text: …}" if item["free_text"] else ""
    message = f"{typed or 'this'!r} is none of the options {', '.join(options)}{hint}{free}"
    form.problems.append(form.at(keys, message, suggestion=near))
    return ""
