"""Compaction: what a summary may stand for, and when it is due."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain.messages import Conversation, Message
from kheish.domain.routes import Route
from kheish.domain.runs import Status
from kheish.runtime import compaction
from kheish.runtime.drivers import base
from tests.runtime.harness import Live


def history(roles: str) -> list[Message]:
    names: dict[str, Any] = {"u": "user", "a": "assistant", "t": "tool", "s": "summary"}
    return [Message(role=names[one], seq=seq, source=seq, run_id="r") for seq, one in enumerate(roles, 1)]


@pytest.mark.parametrize(
    ("roles", "covered"),
    [
        ("uauaua", ""),
        ("uauauaua", "ua"),
        ("suauaua", ""),  # a summary of a summary alone is of no use
        ("uauattttta", "uau"),  # an answer stays with its results
        ("uatttttttttt", ""),
        ("s" + "ua" * 6, "suauaua"),
    ],
)
def test_all_but_the_end_is_covered_and_never_an_answer_without_its_results(roles: str, covered: str) -> None:
    found = compaction._covered(history(roles))
    assert "".join(one.role[0] for one in found) == covered
    rest = history(roles)[len(found) :]
    assert not found or rest[0].role != "tool"


def route(window: int | None) -> Route:
    given = {"driver": "scripted", "script": {"echo": True}, "capabilities": {"context_window": window}}
    return Route.model_validate(given)


def test_it_is_due_near_the_end_of_the_window() -> None:
    prompt = [base.Message(role="user", text="x" * 4 * 801)]
    assert compaction.is_due(route(1000), prompt)
    assert not compaction.is_due(route(1100), prompt)
    assert not compaction.is_due(route(None), prompt)
    assert compaction.result_room(route(1000)) == 1600
    assert compaction.result_room(route(None)) is None


async def test_a_long_conversation_is_summarised_before_it_is_too_long(it: Live) -> None:
    it.route(script={"echo": True}, capabilities={"context_window": 2000})
    for number in range(12):
        run = await it.ask(f"{number} " + "word " * 100)
        assert run.status is Status.COMPLETED, run.error
    summaries = it.data("context.compacted")
    assert len(summaries) >= 2
    talk = it.state.table(Conversation, "s")["s"].messages
    assert [one.role for one in talk].count("summary") == 1
    assert it.data("model.requested")[-1]["purpose"] == "turn"
    fresh = it.reloaded("s").tables[Conversation]["s"]
    assert fresh.messages == talk


async def test_the_journal_is_never_rewritten(it: Live) -> None:
    it.route(script={"echo": True}, capabilities={"context_window": 2000})
    for number in range(8):
        await it.ask(f"{number} " + "word " * 100)
    asked = [data["request"]["items"][0]["text"].split()[0] for data in it.data("run.submitted")]
    assert asked == [str(number) for number in range(8)]
    assert [line["seq"] for line in it.lines if line.get("session") == "s"] == list(range(1, len(it.lines) + 1))


async def test_tokens_of_a_compaction_are_counted(it: Live) -> None:
    it.route(script={"echo": True}, capabilities={"context_window": 2000})
    for number in range(8):
        run = await it.ask(f"{number} " + "word " * 100)
        used = [data["usage"] for data in it.data("context.compacted")]
        if used:
            break
    assert used[0]["input_tokens"] > 0
    assert run.usage.model_calls == 2
