"""Hooks narrow what rules decide; the answers of several hooks together."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain.events import HookOutcome, HooksRan
from kheish.domain.hooks.answer import Answer
from kheish.domain.hooks.combining import Combined
from kheish.domain.hooks.definition import HookFile
from kheish.domain.hooks.narrowing import narrowed
from kheish.domain.permissions.decide import Mode, Verdict


def ran(decision: Any) -> dict[str, HooksRan]:
    event = HooksRan(event="pre_tool_use", point="p", outcomes=(), decision=decision, decided_by="h", reason="r")
    return {"pre_tool_use": event}


def verdict(decision: Any, origin: str = "mode default") -> Verdict:
    return Verdict(decision=decision, why="w", origin=origin)


MODE = verdict("ask")
RULE = verdict("ask", "permissions.yaml rule 1")
TAINT = verdict("ask", "taint ask")
SANDBOX = verdict("ask", "sandbox.mode ask")
PLAN = verdict("ask", "leaving plan mode")


@pytest.mark.parametrize("before", [RULE, TAINT, SANDBOX, PLAN])
@pytest.mark.parametrize("mode", ["default", "accept_edits", "plan"])
def test_an_allow_never_answers_an_ask_of_anything_but_the_mode(before: Verdict, mode: Mode) -> None:
    assert narrowed(before, ran("allow"), "bash", mode, two=False) == before


def test_an_allow_answers_an_ask_of_the_mode() -> None:
    found = narrowed(MODE, ran("allow"), "bash", "default", two=False)
    assert (found.decision, found.origin) == ("allow", "hook h")


def test_an_allow_answers_for_no_two_persons_and_no_plan() -> None:
    assert narrowed(MODE, ran("allow"), "bash", "default", two=True) == MODE
    assert narrowed(MODE, ran("allow"), "exit_plan_mode", "default", two=False) == MODE


@pytest.mark.parametrize("decision", ["allow", "ask", None])
def test_nothing_lifts_a_denial(decision: Any) -> None:
    denied = verdict("deny")
    assert narrowed(denied, ran(decision), "bash", "default", two=False) == denied


@pytest.mark.parametrize("mode", ["default", "accept_edits", "plan", "dont_ask", "bypass"])
def test_a_denial_holds_in_every_mode(mode: Mode) -> None:
    assert narrowed(verdict("allow"), ran("deny"), "bash", mode, two=False).decision == "deny"


@pytest.mark.parametrize(
    ("mode", "decision"), [("default", "ask"), ("accept_edits", "ask"), ("dont_ask", "deny"), ("bypass", "allow")]
)
def test_an_ask_follows_the_mode(mode: Mode, decision: str) -> None:
    assert narrowed(verdict("allow"), ran("ask"), "bash", mode, two=False).decision == decision


def outcome(result: Any = "ok") -> HookOutcome:
    return HookOutcome(hook="h", invocation_id="i", result=result, reason="why")


def file(**fields: Any) -> HookFile:
    return HookFile.model_validate({"events": ["pre_tool_use"], "command": "true", **fields})


def test_the_strictest_of_several_counts() -> None:
    both = Combined("pre_tool_use")
    both.take("a", file(may_allow=True), outcome(), Answer(decision="allow"))
    assert both.decision == "allow"
    both.take("b", file(), outcome(), Answer(decision="ask"))
    both.take("c", file(may_allow=True), outcome(), Answer(decision="allow"))
    assert (both.decision, both.decided_by, both.is_over) == ("ask", "b", False)
    both.take("d", file(), outcome(), Answer(decision="deny", reason="no"))
    assert (both.decision, both.decided_by, both.reason, both.is_over) == ("deny", "d", "no", True)


def test_an_allow_without_may_allow_and_an_observer_have_no_say() -> None:
    found = Combined("pre_tool_use")
    found.take("a", file(), outcome(), Answer(decision="allow"))
    found.take("b", file(observe=True), outcome(), Answer(decision="deny", context="x", stop_reason="y"))
    assert (found.decision, found.context, found.is_over) == (None, None, False)


@pytest.mark.parametrize("result", ["failed", "untrusted"])
def test_a_hook_without_an_answer_is_open_or_closed(result: Any) -> None:
    found = Combined("pre_tool_use")
    found.take("a", file(), outcome(result), None)
    assert found.decision is None
    found.take("b", file(failure="closed"), outcome(result), None)
    assert found.decision == "deny" and found.reason == "the hook b gave no answer: why"


def test_a_refusal_after_a_call_is_a_word_to_the_model() -> None:
    found = Combined("post_tool_use")
    found.take("a", file(events=["post_tool_use"]), outcome(), Answer(decision="deny", reason="ugly"))
    assert found.decision is None and found.context == "The hook a objects to this result:\nugly"


def test_nothing_blocks_the_start_of_a_session() -> None:
    found = Combined("session_start")
    found.take("a", file(events=["session_start"], failure="closed"), outcome("failed"), None)
    found.take("b", file(events=["session_start"]), outcome(), Answer(decision="deny"))
    assert found.decision is None
