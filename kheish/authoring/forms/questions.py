"""The file of a pending question: `answers: {q1: option id | [option ids] | {text: …}}`, or `decline:`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

from kheish.authoring.forms.form import BY, Form, Model, PendingForm, Resolve, read_text, text_of
from kheish.domain import questions
from kheish.domain.events import QuestionItem
from kheish.store.edits import problems as words
from kheish.store.edits.yaml12 import Keys, ListNode, MapNode, Node, ScalarNode
from kheish.store.log import records


class TextAnswer(Model):
    """An answer in the user's own words."""

    text: str
    selected: list[str] | str | None = None


class PendingQuestion(Model):
    """Questions that wait for a user; only fill in `answers` or `decline`."""

    question_id: str
    session_id: str
    run_id: str
    status: Literal["pending"]
    questions: list[QuestionItem]
    asked_at: str
    expires_at: str | None
    answers: dict[str, str | list[str] | TextAnswer | None] | None = None
    """The answers by question id: an option's id, a list of them, or `{text: …}`."""
    decline: str | None = None
    """The reason for not answering."""


_COMMENT_COLUMN = 31
_HINT = "an option id, a list of them, or {text: …}"


def _blank(document: Mapping[str, Any]) -> str:
    ids = [records.scalar(str(item["id"])) for item in document["questions"]]
    rows = [f"  {id}:".ljust(_COMMENT_COLUMN) + f"# {_HINT}\n" for id in ids]
    decline = "decline:".ljust(_COMMENT_COLUMN) + "# or a reason for not answering\n"
    return "".join(("# Fill in the answers below, and save.\nanswers:\n", *rows, decline))


def _fill(form: Form, document: Mapping[str, Any]) -> Resolve | None:
    items = {item["id"]: item for item in document["questions"]}
    answers = dict(_answers(form, items))
    reason = read_text(form, "decline")
    if reason and answers:
        form.problems.append(form.at(("decline",), "answer, or decline with a reason, not both", key=True))
        return None
    if reason:
        return partial(questions.decline, by=BY, via="file", reason=reason)
    if not answers:
        return None
    missing = [id for id in items if id not in answers]
    for id in missing:
        message = f"{id!r} has no answer yet; the others wait for it"
        form.problems.append(form.at(("answers", id), message, code="missing_answer", severity="warning", key=True))
    return None if missing else partial(questions.answer, answers=answers, by=BY, via="file")


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
            text = text_of(given.items.get("text"))
            return {"selected": [one for one in selected if one], "text": text or None} if text or selected else None


def _chosen(form: Form, keys: Keys, node: Node, item: Mapping[str, Any]) -> str:
    """Return the option that a node names; empty if it names none (which is a problem, unless the field is empty)."""
    typed = text_of(node)
    options = [option["id"] for option in item["options"]]
    if typed in options or (not typed and isinstance(node, ScalarNode)):
        return typed
    near = words.nearest(typed, options) if typed else None
    hint = f"; did you mean {near!r}?" if near else ""
    free = "; for an answer of your own write {text: …}" if item["free_text"] else ""
    message = f"{typed or 'this'!r} is none of the options {', '.join(options)}{hint}{free}"
    form.problems.append(form.at(keys, message, suggestion=near))
    return ""


FORM = PendingForm(
    noun=questions.NOUN,
    model=PendingQuestion,
    mine=("answers", "decline"),
    blank=_blank,
    fill=_fill,
    late=questions.late,
)
