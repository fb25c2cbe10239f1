"""Comparing what happened with what was recorded."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.runtime.replays.comparing import Fact, difference, facts, neutral


def finished(call_id: str, content: str, *, is_error: bool = False) -> dict[str, Any]:
    data = {"call_id": call_id, "tool": "bash", "content": content, "is_error": is_error}
    return {"kind": "tool.finished", "data": data}


def test_ids_times_and_the_workspace_do_not_count() -> None:
    one = "run_01jd8zq5v0abcdefghjkmnpqrs at 2026-11-29T17:00:00Z in /home/ada/a/x.py"
    two = "run_01jd8zq5v1zzzzzzzzzzzzzzzz at 2027-01-01T00:00:00.5+01:00 in /elsewhere/x.py"
    assert neutral(one, ["/home/ada/a"]) == neutral(two, ["/elsewhere"]) == "run_{id} at {time} in {workspace}/x.py"


def test_results_of_parallel_calls_come_in_any_order() -> None:
    one, two = finished("a", "1"), finished("b", "2")
    assert difference(3, facts([one, two]), facts([two, one])) is None


@pytest.mark.parametrize(
    ("recorded", "now", "words"),
    [
        ([finished("a", "x" * 90 + "1")], [finished("a", "x" * 90 + "2")], "Turn 7: the result of bash (a) differs"),
        ([finished("a", "1")], [], "the result of bash (a) is missing; recorded was '1'"),
        ([], [finished("a", "1")], "the result of bash (a) is new: '1'"),
        ([finished("a", "1")], [finished("a", "1", is_error=True)], "'error: 1'"),
    ],
)
def test_a_difference_is_named(recorded: list[Any], now: list[Any], words: str) -> None:
    found = difference(7, facts(recorded), facts(now))
    assert found is not None and words in found


def test_equal_facts_are_counted() -> None:
    nudge = {"kind": "run.nudged", "data": {"text": "again", "reason": "completion"}}
    assert [fact.what for fact in facts([nudge, nudge])] == ["the daemon's message", "the daemon's message (number 2)"]
    assert difference(1, [Fact("x", "1")], [Fact("x", "1")]) is None
