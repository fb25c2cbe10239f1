"""The prompt: a projection of the journal that every provider takes."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kheish.api import views
from kheish.domain import events
from kheish.domain.events import Item, ModelCall, Spilled, changed
from kheish.domain.messages import Message
from kheish.domain.nouns import BY_CLASS
from kheish.domain.runs import Run
from kheish.runtime import accepted, dialects, fitting, prompt
from tests.runtime.harness import Live


def user(seq: int, text: str, run: str = "r") -> Message:
    return Message(role="user", seq=seq, source=seq, run_id=run, items=(Item(text=text),))


def answer(seq: int, *calls: str, text: str = "", run: str = "r") -> Message:
    asked = tuple(ModelCall(id=id, name="bash", arguments={"command": id}) for id in calls)
    return Message(role="assistant", seq=seq, source=seq, run_id=run, text=text, calls=asked)


def result(seq: int, call_id: str, text: str = "ok", run: str = "r") -> Message:
    return Message(role="tool", seq=seq, source=seq, run_id=run, text=text, call_id=call_id)


def shown(*history: Message, run: str = "r") -> list[tuple[Any, ...]]:
    found = [one.message for one in prompt.project(history, run, {})]
    return [(one.role, one.text, *(call.id for call in one.calls), *filter(None, [one.call_id])) for one in found]


def test_results_stand_right_after_their_calls_and_others_before_this_run() -> None:
    asked = answer(2, "c1", "c2")
    history = (user(1, "a"), asked, result(3, "c2", "two"), user(4, "b", "q"), result(5, "c1", "one"))
    assert shown(*history) == [
        ("user", "b"),
        ("user", "a"),
        ("assistant", "", "c1", "c2"),
        ("tool", "one", "c1"),
        ("tool", "two", "c2"),
    ]


def test_the_same_call_id_in_two_runs_is_two_calls() -> None:
    history = (user(1, "a", "q"), answer(2, "c", run="q"), result(3, "c", "first", "q"), answer(4, "c"), result(5, "c"))
    assert [text for role, text, *_ in shown(*history) if role == "tool"] == ["first", "ok"]


def test_the_open_call_of_a_parked_run_is_left_out_with_a_note() -> None:
    parked = answer(2, "c1", "c2", text="wait", run="parked")
    found = shown(user(1, "a", "parked"), parked, result(3, "c1", run="parked"), user(4, "b"))
    assert found[1] == ("assistant", "wait\n\n[A call of bash of another run still waits for a person.]", "c1")
    assert [one[0] for one in found] == ["user", "assistant", "tool", "user"]


def test_an_answer_with_nothing_left_in_it_is_left_out() -> None:
    assert shown(user(1, "a"), answer(2)) == [("user", "a")]


def test_a_result_whose_call_was_summarised_is_told_nevertheless() -> None:
    summary = Message(role="summary", seq=9, source=9, run_id="q", text="so far")
    found = shown(summary, result(10, "gone", "the deploy is done"))
    assert found[0] == ("user", "Summary of the conversation so far:\n\nso far")
    assert found[1][0] == "user" and "the deploy is done" in found[1][1]


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("failed", "[This task has no answer: its run was not finished, because of an error.]"),
        ("cancelled", "[This task has no answer: its run was cancelled.]"),
    ],
)
def test_a_task_whose_run_has_no_answer_is_only_begun(end: str, told: str) -> None:
    ended = Message(role="ended", seq=2, source=2, run_id="q", text=end)
    found = shown(user(1, "x" * 50_000, "q"), ended, user(3, "b"))
    assert [one[0] for one in found] == ["user", "user"]
    assert found[0][1].endswith(told) and len(found[0][1]) < 2200


def test_a_run_that_ended_after_a_call_says_so() -> None:
    ended = Message(role="ended", seq=4, source=4, run_id="q", text="cancelled")
    found = shown(user(1, "a", "q"), answer(2, "c", run="q"), result(3, "c", run="q"), ended, user(5, "b"))
    assert found[3] == ("assistant", "[The run ended here: it was cancelled.]")


async def test_the_sections_have_their_order(it: Live) -> None:
    (it.workspace / "AGENTS.md").write_text("Use tabs.")
    it.session("t", workspace=it.workspace, title="A title", persona={"id": "p", "body": "Be brief."})
    run = it.submit_run(session_id="t", output_contract={"type": "object"})
    names = [part.name for part in await prompt.sections(it.state, run, it.tools)]
    assert names == [
        "Instructions",
        "Tools",
        "Persona",
        "Project instructions (AGENTS.md)",
        "Session",
        "Environment",
        "Output contract",
    ]


async def test_the_instructions_and_tools_have_no_invisible_characters(it: Live) -> None:
    body = "Be \u202ebrief\x1b[2J.\r\nAlways\U000e0041, \u0645\u200c\u0645."
    (it.workspace / "AGENTS.md").write_text("Run\u2066 the tests.")
    it.session("t", workspace=it.workspace, persona={"id": "p", "body": body})
    odd = {"type": "object", "properties": {"a": {"description": "\u202ea", "enum": ["\u202e"]}}}
    tools = {"odd": replace(it.tools["bash"], name="odd", description="Run\u200b it.", arguments=odd)}
    frame = await prompt.frame(it.state, it.submit_run(session_id="t"), tools, None)
    assert "Be brief[2J.\nAlways, \u0645\u200c\u0645." in frame.system.text and "Run the tests." in frame.system.text
    (spec,) = frame.specs
    assert spec.description == "Run it."
    assert spec.parameters["properties"]["a"] == {"description": "a", "enum": ["\u202e"]}


async def test_an_instructions_file_that_leads_out_is_not_read(it: Live) -> None:
    outside = it.root / "secret"
    outside.write_text("a secret")
    (it.workspace / "AGENTS.md").symlink_to(outside)
    parts = await prompt.sections(it.state, it.submit_run(), {})
    assert not any("secret" in part.text for part in parts)


async def test_spilled_texts_arguments_and_blocks_are_whole_in_the_prompt(it: Live) -> None:
    it.agent.stopping.set()
    run = it.submit_run("long " + "x" * 20000)
    call = ModelCall(id="c", name="write_file", arguments={"content": "y" * 20000})
    opaque = [{"signature": "z" * 20000}]
    it.move(
        run.run_id,
        events.RunStarted(),
        events.ModelResponded(turn=0, text="", calls=(call,), opaque=opaque),
        events.ToolFinished(call_id="c", tool="write_file", is_error=False, content="w" * 20000),
    )
    it.flush()
    asked, answered, told = [one.message for one in await prompt.conversation(it.state, run, "here")]
    assert asked.text == "long " + "x" * 20000
    assert answered.calls[0].arguments == call.arguments and answered.opaque == opaque
    assert told.text == "w" * 20000


@pytest.mark.parametrize("text", ["0" * 64, "no digest"])
async def test_what_looks_like_a_spilled_payload_comes_back_as_itself(it: Live, text: str) -> None:
    it.agent.stopping.set()
    lookalike = {"sha256": text, "bytes": 3, "preview": "abc"}
    run = it.submit_run("go", metadata={"kept": lookalike, "arguments": lookalike})
    call = ModelCall(id="c", name="any", arguments=dict(lookalike))
    it.move(run.run_id, events.RunStarted(), events.ModelResponded(turn=0, text="", calls=(call,), opaque=lookalike))
    it.move(run.run_id, events.ToolFinished(call_id="c", tool="any", is_error=False, content="w"))
    it.flush()

    answered = (await prompt.conversation(it.state, run, "here"))[-2].message
    (doc,) = await views.expand(it.state, [it.state.document(BY_CLASS[Run], it.run_of(run.run_id))])

    assert answered.calls[0].arguments == answered.opaque == lookalike
    assert doc["request"]["metadata"] == {"kept": lookalike, "arguments": lookalike}
    again = it.reloaded("s").tables[Run][run.run_id].request
    assert again.metadata == {"kept": lookalike, "arguments": lookalike}


async def test_tools_are_told_in_a_stable_order(it: Live) -> None:
    specs = fitting.toolbox(it.tools, None).specs
    names = [spec.name for spec in specs]
    assert names == sorted(names) and "bash" in names
    assert all(spec.parameters["type"] == "object" for spec in specs)


def counted(function: types.FunctionType, work: Callable[[], object]) -> int:
    """How often `work` calls a function."""
    calls = 0

    def watch(frame: types.FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code is function.__code__

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_a_turn_renders_and_cleans_what_is_new_in_a_long_history() -> None:
    history = [user(0, "a")]
    for seq in range(1, 401, 2):
        history += [answer(seq, f"c{seq}"), result(seq + 1, f"c{seq}")]
    rendered, rules = prompt.Rendered(), dialects.of("openai", "m", None, 0)

    def turn() -> Sequence[object]:
        placed = prompt.project(history, "r", {}, rendered)
        return accepted.accept([one.message for one in placed], has_tools=True, rules=rules)

    assert counted(prompt._render_answer, turn) == 200
    history += [answer(401, "c401"), result(402, "c401")]
    assert counted(prompt._render_answer, turn) == 1
    history += [answer(403, "c403"), result(404, "c403")]
    assert counted(accepted.plain_text, turn) == 5, "the answer, its argument's name and value; the result; the task"
    assert turn() == accepted.accept(
        [one.message for one in prompt.project(history, "r", {})], has_tools=True, rules=rules
    )


def test_an_answer_is_rendered_for_good_with_its_last_result_and_without_payloads() -> None:
    rendered, asked = prompt.Rendered(), answer(2, "c1", "c2")
    large = result(4, "c2")
    large = changed(large, text=Spilled(sha256="0" * 64, bytes=3, preview="w"))
    prompt.project([user(1, "a"), asked, result(3, "c1")], "r", {}, rendered)
    assert not rendered.answers
    whole = [user(1, "a"), asked, result(3, "c1"), large]
    found = prompt.project(whole, "r", {"0" * 64: "www"}, rendered)
    assert found[-1].message.text == "www" and not rendered.answers and not rendered.covered
    prompt.project([*whole, answer(5, "c3"), result(6, "c3")], "r", {"0" * 64: "www"}, rendered)
    assert list(rendered.answers) == [5]
    rendered.prune(0)
    assert list(rendered.answers) == [5], "few of them may stay"
