"""Forms of approvals and questions: what they show, what they refuse to show, and what an answer becomes."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from kheish.protocols import dialogs
from kheish.protocols.dialogs import NotShown
from kheish.protocols.mcp import answers


def approval(**fields: Any) -> Any:
    return {
        "approval_id": "appr_1", "session_id": "s", "run_id": "run_1", "tool": "bash", "digest": "d1", "files": [],
        "arguments": {"command": "make"}, "why": "no rule allows it", "risk": "medium", "required": 1,
        "status": "pending", "came_from": {}, **fields,
    }  # fmt: skip


def question(*items: dict[str, Any]) -> Any:
    full = [{"header": "H", "text": "Which?", "options": [], "multi_select": False, "free_text": False, **one}
            for one in items]  # fmt: skip
    return {"question_id": "q_1", "session_id": "s", "status": "pending", "questions": full}


OPTIONS = [{"id": "a", "label": "Red", "description": "warm"}, {"id": "b", "label": "Blue", "description": None}]


def body(call: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(call.body))


def test_a_form_shows_the_whole_call_and_where_it_came_from() -> None:
    asked = approval(files=[{"path": "a.sh", "sha256": "ff", "bytes": 1}], came_from={"tainted_by": "web_fetch"})
    form = dialogs.of_approval(asked)
    assert (form.key, form.bound) == ("appr_1", "d1")
    for part in ("bash (medium risk)", "no rule allows it", "a.sh (sha256 ff)", "web_fetch", '"command": "make"'):
        assert part in form.message


def test_texts_of_agents_cannot_pass_for_facts() -> None:
    command = "x\nThe agent of session other wants to use ls (low risk).\x1b[2J\u202e"
    form = dialogs.of_approval(approval(arguments={"command": command}, why="w\nIt reads nothing."))
    facts = [line for line in form.message.split("\n") if not line.startswith("    ")]
    assert len(facts) == 3 and not any("other" in line for line in facts)
    assert "\x1b" not in form.message and "\u202e" not in form.message
    asked = question({"id": "q1", "text": "Pick\nIt asks because all is well.", "options": OPTIONS})
    facts = [line for line in dialogs.of_question(asked).message.split("\n") if not line.startswith("    ")]
    assert facts == ["The agent of session s asks:"]


def test_what_cannot_be_shown_in_whole_or_needs_persons_has_no_form() -> None:
    for asked in (approval(arguments={"command": "x" * dialogs.MOST}), approval(required=2)):
        with pytest.raises(NotShown):
            dialogs.of_approval(asked)
    with pytest.raises(NotShown):
        dialogs.of_question(question({"id": "q1", "text": "x" * dialogs.MOST}))


def test_an_answer_to_an_approval() -> None:
    sent = body(dialogs.resolve("appr_1", {"decision": "deny", "reason": "no"}))
    assert sent == {"decision": "deny", "reason": "no", "via": "mcp"}
    for content in ({}, {"decision": "yes"}, {"decision": True}, {"decision": ["allow"]}):
        with pytest.raises(ValueError, match="choose allow or deny"):
            dialogs.resolve("appr_1", content)


def test_the_fields_of_a_question_are_flat_and_fit_old_and_new_clients() -> None:
    asked = question(
        {"id": "one", "options": OPTIONS},
        {"id": "many", "options": OPTIONS, "multi_select": True},
        {"id": "free", "options": OPTIONS, "free_text": True},
        {"id": "text", "free_text": True},
    )
    new, old = dialogs.of_question(asked), dialogs.of_question(asked, titled=False)
    properties = new.schema["properties"]
    assert properties["one"]["oneOf"] == [{"const": "a", "title": "Red"}, {"const": "b", "title": "Blue"}]
    assert old.schema["properties"]["one"]["enum"] == ["a", "b"] and new.bound == old.bound
    assert properties["many.a"]["type"] == "boolean" and "text.text" in properties and "text" not in properties
    assert new.schema["required"] == ["one"]
    filled = {"one": "b", "many.a": True, "many.b": False, "free.text": "green", "text.text": "words"}
    assert body(dialogs.answer(asked, filled))["answers"] == {
        "one": {"selected": ["b"], "text": None},
        "many": {"selected": ["a"], "text": None},
        "free": {"selected": [], "text": "green"},
        "text": {"selected": [], "text": "words"},
    }
    assert body(dialogs.answer(asked, {}))["via"] == "mcp"


def test_another_question_is_bound_to_something_else() -> None:
    first, second = question({"id": "q1", "options": OPTIONS}), question({"id": "q1", "options": OPTIONS[:1]})
    assert dialogs.of_question(first).bound != dialogs.of_question(second).bound


def test_a_large_result_is_cut_and_stays_json() -> None:
    result = answers.result({"items": [{"text": "x" * 60_000}] * 20})
    text = result.content[0].text  # type: ignore[union-attr]
    assert len(text) < answers.RESULT and "more characters" in text
    assert json.loads(text) == result.structured_content
