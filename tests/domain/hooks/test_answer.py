"""Answers of hooks, read from outputs, exit statuses and models."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import orjson
import pytest

from kheish.domain.hooks import answer
from kheish.domain.hooks.answer import Answer, Unreadable, of_model, of_output
from kheish.domain.hooks.moments import MOMENTS
from kheish.runtime.hooks.asked import HookFailed


def own(event: str = "PreToolUse", **fields: Any) -> str:
    return json.dumps({"hookSpecificOutput": {"hookEventName": event, **fields}})


def test_silence_decides_nothing() -> None:
    assert of_output("pre_tool_use", "", "", 0) == Answer()


@pytest.mark.parametrize(
    ("said", "decision"), [("allow", "allow"), ("deny", "deny"), ("ask", "ask"), ("defer", "ask"), ("maybe", None)]
)
def test_permission_decisions(said: str, decision: str | None) -> None:
    found = of_output("pre_tool_use", own(permissionDecision=said, permissionDecisionReason="r"), "", 0)
    assert (found.decision, found.reason) == (decision, "r")


def test_the_older_fields_are_understood() -> None:
    assert of_output("pre_tool_use", '{"decision": "approve"}', "", 0).decision == "allow"
    blocked = of_output("stop", '{"decision": "block", "reason": "not yet"}', "", 0)
    assert (blocked.decision, blocked.reason) == ("deny", "not yet")


@pytest.mark.parametrize("name", [name for name, moment in MOMENTS.items() if moment.blocks])
def test_exit_status_2_blocks_with_the_reason_on_stderr(name: str) -> None:
    found = of_output(name, "", "because\n", 2)
    assert (found.decision, found.reason) == ("deny", "because")


def test_the_reason_is_that_of_the_json_then_stderr_then_the_message_for_users() -> None:
    both = own(permissionDecisionReason="json")
    assert of_output("pre_tool_use", both, "stderr", 2).reason == "json"
    assert of_output("pre_tool_use", '{"systemMessage": "m"}', "stderr", 2).reason == "stderr"
    assert of_output("pre_tool_use", '{"systemMessage": "m"}', "", 2).reason == "m"
    assert of_output("pre_tool_use", "", own(permissionDecision="deny", permissionDecisionReason="e"), 2).reason == "e"


@pytest.mark.parametrize("status", [status for status in range(256) if status != 2])
def test_no_other_status_blocks(status: int) -> None:
    assert of_output("pre_tool_use", "", "text", status).decision is None


@pytest.mark.parametrize("status", [0, 1, 2, 17, 255])
def test_an_object_counts_on_any_status(status: int) -> None:
    assert of_output("pre_tool_use", own(permissionDecision="deny"), "", status).decision == "deny"


def test_an_allow_with_status_2_blocks() -> None:
    assert of_output("pre_tool_use", own(permissionDecision="allow"), "no", 2).decision == "deny"


@pytest.mark.parametrize(("name", "context"), [("session_start", "hi"), ("user_prompt_submit", "hi"), ("stop", None)])
def test_text_is_context_for_two_events_and_agents(name: str, context: str | None) -> None:
    assert of_output(name, "hi\n", "", 0).context == context


def test_text_of_a_failed_command_is_no_context() -> None:
    assert of_output("session_start", "hi", "", 1).context is None


def test_long_texts_are_cut() -> None:
    found = of_output("session_start", "x" * 20_000, "", 0)
    assert found.context is not None and len(found.context) == 10_000


def test_fields_of_a_wrong_type_are_ignored() -> None:
    odd = {"decision": 3, "reason": ["x"], "systemMessage": {}, "continue": "no", "hookSpecificOutput": [1]}
    assert of_output("pre_tool_use", json.dumps(odd), "", 0) == Answer(is_object=True)
    assert of_output("pre_tool_use", own(updatedInput="x", additionalContext=1), "", 0) == Answer(is_object=True)


@pytest.mark.parametrize("text", ['{"a": ', '{"a": NaN}', '{"a":' * 65, "{'a': 1}"])
def test_what_begins_like_an_object_and_is_none_is_a_failure(text: str) -> None:
    with pytest.raises(Unreadable):
        of_output("pre_tool_use", text, "", 0)


_HALF = "\ud83d"
_HALVES: dict[str, Any] = {
    "systemMessage": f"a{_HALF}",
    "reason": _HALF,
    "decision": "block",
    "continue": False,
    "stopReason": f"{_HALF}b",
    "additionalContext": _HALF,
    "hookSpecificOutput": {
        "updatedInput": {"command": f"echo {_HALF}", f"key{_HALF}": [{"deep": [_HALF, 1, None, True]}]},
        "updatedToolOutput": {"x": _HALF},
        "permissionDecisionReason": _HALF,
        "content": {_HALF: _HALF},
    },
}


def _journaled(found: Answer) -> str:
    return orjson.dumps(asdict(found)).decode()  # refuses lone surrogates


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("name", ["pre_tool_use", "post_tool_use", "session_start", "stop", "elicitation"])
def test_half_a_character_is_replaced_everywhere(name: str, escaped: bool) -> None:
    said = json.dumps(_HALVES, ensure_ascii=escaped)
    found = of_output(name, said, "", 0)
    assert "\ud83d" not in _journaled(found)
    assert found.system_message == "a\ufffd" and found.stop_reason == "\ufffdb"
    assert found.updated_input == {"command": "echo \ufffd", "key\ufffd": [{"deep": ["\ufffd", 1, None, True]}]}
    _journaled(of_output(name, "", said, 2))


def test_half_a_character_in_plain_texts_and_of_models_is_replaced() -> None:
    assert of_output("session_start", f"hi {_HALF}", "", 0).context == "hi \ufffd"
    assert of_output("pre_tool_use", "", f"no {_HALF}", 2).reason == "no \ufffd"
    assert of_model('{"ok": false, "reason": "\\ud83d"}').reason == "\ufffd"
    assert str(HookFailed(f"the tool failed: {_HALF}")) == "the tool failed: \ufffd"


def test_a_whole_character_in_two_escapes_is_kept() -> None:
    assert of_output("stop", '{"reason": "\\ud83d\\ude00"}', "", 0).reason == "\U0001f600"


@pytest.mark.parametrize("number", ["1" + "0" * 400, "18446744073709551616", "-9223372036854775809", "1e999", "-1e999"])
def test_a_number_that_no_journal_holds_is_a_failure(number: str) -> None:
    with pytest.raises(Unreadable, match="too large a number"):
        of_output("pre_tool_use", f'{{"hookSpecificOutput": {{"updatedInput": {{"timeout": {number}}}}}}}', "", 0)


def test_nesting_in_strings_does_not_count() -> None:
    assert of_output("pre_tool_use", json.dumps({"reason": "[{" * 1000 + '"'}), "", 0).reason is not None


def test_continue_false_has_its_reason() -> None:
    assert of_output("stop", '{"continue": false, "stopReason": "enough"}', "", 0).stop_reason == "enough"
    assert of_output("stop", '{"continue": false}', "", 0).stop_reason == "a hook stopped it"
    assert of_output("stop", '{"continue": true}', "", 0).stop_reason is None


def test_a_permission_request_is_answered() -> None:
    said = own("PermissionRequest", decision={"behavior": "deny", "message": "no", "interrupt": True})
    found = of_output("permission_request", said, "", 0)
    assert (found.decision, found.reason, found.stop_reason) == ("deny", "no", "no")


@pytest.mark.parametrize(
    ("text", "decision", "reason"),
    [
        ('{"ok": true}', None, None),
        ('```json\n{"ok": false, "reason": "late"}\n```', "deny", "late"),
        ('I think {"ok": false}', "deny", "the model gave no reason"),
    ],
)
def test_answers_of_models(text: str, decision: str | None, reason: str | None) -> None:
    found = of_model(text)
    assert (found.decision, found.reason) == (decision, reason)


@pytest.mark.parametrize("text", ["", "yes", '{"ok": "true"}', "[true]"])
def test_other_answers_of_models_are_failures(text: str) -> None:
    with pytest.raises(Unreadable):
        of_model(text)


def test_the_strictest_decision() -> None:
    assert answer.strictest(["allow", None, "ask"]) == "ask"
    assert answer.strictest([]) is None
