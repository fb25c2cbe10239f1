"""Compaction: what a summary may stand for, what counts as a summary, and what is done where none can be had."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain.messages import Conversation, Message
from kheish.domain.runs import Status
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.runtime import compaction
from kheish.runtime.drivers import base
from kheish.runtime.drivers.base import ModelError, Reply
from kheish.runtime.prompt import Placed
from tests.runtime.harness import Live, call

WINDOW = {"capabilities": {"context_window": 2000}}


def placed(roles: str, words: int = 100) -> list[Placed]:
    """`u`ser, `a`ssistant, `t`ool, `s`ummary and the `o`pen run's task, each of so many words."""
    names: dict[str, Any] = {"u": "user", "a": "assistant", "t": "tool", "s": "summary", "o": "user"}
    found = []
    for seq, letter in enumerate(roles, 1):
        run = "open" if letter == "o" else "r"
        source = Message(role=names[letter], seq=seq, source=seq, run_id=run)
        role = "user" if names[letter] == "summary" else names[letter]
        found.append(Placed(base.Message(role=role, text="word " * words), source))
    return found


@pytest.mark.parametrize(
    ("roles", "rest", "covered"),
    [
        ("ua", 10, ""),  # the newest answer stays
        ("uauaua", 1000, "uaua"),
        ("suaua", 1000, "sua"),  # an earlier summary is a part of the next
        ("sa", 100, ""),  # a summary of a summary alone is of no use
        ("oa", 100, ""),  # the task stays beside any summary
        ("uattta", 400, "uattt"),
        ("uauattttt", 1000, "uau"),  # results that the model has not seen stay with their answer
    ],
)
def test_the_oldest_are_covered_and_never_an_answer_without_its_results(roles: str, rest: int, covered: str) -> None:
    found = compaction.part(placed(roles), "open", rest=rest, prompt_room=10_000)
    assert "".join(roles[one.source.seq - 1] for one in found) == covered


def test_what_is_larger_than_a_prompt_is_covered_in_parts() -> None:
    history = placed("ua" * 50)
    found = compaction.part(history, "", rest=600, prompt_room=1000)
    assert 2 <= len(found) <= 8
    giant = compaction.part(placed("ua" * 3, words=5000), "", rest=600, prompt_room=1000)
    assert len(giant) == 1, "one that has no room at all is cut for its summary"


@pytest.mark.found("A4")
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(text=""), "empty"),
        (Reply(text=" \n"), "empty"),
        (Reply(text="<think>what was it"), "empty"),
        (Reply(text="<think>so it was</think>\n "), "empty"),
        (Reply(text="I look", calls=(base.Call(id="c", name="bash"),)), "empty"),
        (Reply(text="The user wants", finish_reason="length"), "truncated"),
    ],
)
def test_only_a_whole_text_is_a_summary(reply: Reply, kind: str) -> None:
    with pytest.raises(ModelError) as raised:
        compaction.summary_of(reply)
    assert raised.value.kind == kind
    assert compaction.summary_of(Reply(text="<think>hm</think> All is done.")) == "All is done."


@pytest.mark.found("A4")
@pytest.mark.parametrize("answer", [{"text": ""}, call("list_files"), {"text": "<think>"}])
async def test_history_stays_where_no_summary_can_be_had(it: Live, answer: dict[str, Any]) -> None:
    it.route(script={"echo": True})
    for number in range(8):
        await it.ask(f"task {number} " + "word " * 200)
    it.script(*[answer] * 2, {"text": "done"}, **WINDOW)
    run = await it.ask("the last")
    assert run.status is Status.COMPLETED, run.error
    failed = [one for one in it.data("model.failed") if one["purpose"] == "compaction"]
    assert [one["error_kind"] for one in failed] == ["empty"] * 2, "not once more for each part"
    made = it.data("context.compacted")
    assert made and all(one["made_by"] == "daemon" for one in made)
    assert "User: task 0 word word" in made[0]["summary"], "the daemon shortens, and loses no task"


async def test_a_summary_has_its_length(it: Live) -> None:
    it.route(script={"echo": True})
    for number in range(8):
        await it.ask(f"task {number} " + "word " * 100)
    it.script({"text": "endless " * 5000}, {"text": "done"}, **WINDOW)
    run = await it.ask("the last")
    assert run.status is Status.COMPLETED, run.error
    summary = it.data("context.compacted")[0]["summary"]
    assert len(summary) < 4000 and "characters are left out here" in summary


async def test_a_long_conversation_is_summarised_before_it_is_too_long(it: Live) -> None:
    it.route(script={"echo": True}, **WINDOW)
    for number in range(12):
        run = await it.ask(f"{number} " + "word " * 100)
        assert run.status is Status.COMPLETED, run.error
    assert len(it.data("context.compacted")) >= 2
    talk = it.state.table(Conversation, "s")["s"].messages
    assert [one.role for one in talk].count("summary") == 1
    assert it.data("model.requested")[-1]["purpose"] == "turn"
    fresh = it.reloaded("s").tables[Conversation]["s"]
    assert fresh.messages == talk


async def test_the_journal_is_never_rewritten(it: Live) -> None:
    it.route(script={"echo": True}, **WINDOW)
    for number in range(8):
        await it.ask(f"{number} " + "word " * 100)
    asked = [data["request"]["items"][0]["text"].split()[0] for data in it.data("run.submitted")]
    assert asked == [str(number) for number in range(8)]
    assert [line["seq"] for line in it.lines if line.get("session") == "s"] == list(range(1, len(it.lines) + 1))


async def test_tokens_of_a_compaction_are_counted(it: Live) -> None:
    it.route(script={"echo": True}, **WINDOW)
    for number in range(8):
        run = await it.ask(f"{number} " + "word " * 100)
        used = [data["usage"] for data in it.data("context.compacted")]
        if used:
            break
    assert used[0]["input_tokens"] > 0
    assert run.usage.model_calls == 2


@pytest.mark.parametrize("window", [{}, {"capabilities": {"context_window": 100_000}}])
async def test_a_requested_compaction_comes_before_the_next_run_and_once(it: Live, window: dict[str, Any]) -> None:
    it.route(script={"echo": True}, **window)
    for number in range(6):
        await it.ask(f"{number} " + "word " * 100)
    assert it.data("context.compacted") == []
    session = sessions.request_compaction(it.state, "s", by="ann")
    assert session.compaction_requested and sessions.request_compaction(it.state, "s", by="ann") == session
    for number in range(2):
        run = await it.ask(f"next {number}")
        assert run.status is Status.COMPLETED, run.error
    (compacted,) = it.data("context.compacted")
    assert compacted["made_by"] == "model" and not it.state.get(Session, "s").compaction_requested
    talk = it.state.table(Conversation, "s")["s"].messages
    assert [one.role for one in talk].count("summary") == 1 and len(talk) < 12
    assert it.reloaded("s").tables[Session]["s"] == it.state.get(Session, "s")


async def test_a_request_changes_nothing_where_nothing_would_be_gained(it: Live) -> None:
    it.route(script={"echo": True})
    await it.ask("short")
    sessions.request_compaction(it.state, "s", by="ann")
    assert (await it.ask("shorter")).status is Status.COMPLETED
    assert it.data("context.compacted") == [] and it.state.get(Session, "s").compaction_requested
