"""Hostile input holds nothing else up: `/healthz` answers, and another session works (`python -m bench hostile`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import hostile

#: seconds; the benchmark holds the documented half a second, on a machine that does nothing else
LIMIT = 3.0
QUICK = (
    "a schema of 27 KiB in a submission",
    "permissions/check of 10,000 commands",
    "permissions/check of 70 KB of pipes",
    "permissions/check of nested substitutions",
    "JSON nested 100,000 deep",
    "pipes as AGENTS.md and as a file",
    "4,000 tool calls in one answer",
    "arguments nested 90 deep",
    "a command of 10,000 parts that asks",
    "operands with stars over links to .",
)
#: seconds of a processor, during which the rest is asked all the time
SLOW = ("a schema of 256 KiB in a submission",)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hostile.Scene]:
    with hostile.scene(tmp_path_factory.mktemp("hostile")) as scene:
        yield scene


@pytest.mark.found("S6")
@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.campaign) for name in SLOW)])
def test_it_holds_up_nobody_else(played: hostile.Scene, name: str) -> None:
    with hostile.Watch(played) as watch:
        hostile.INPUTS[name](played)
    assert 0 < watch.slowest < LIMIT * 1000 + watch.idle


def test_what_is_too_much_in_one_answer_is_told_and_the_run_goes_on(played: hostile.Scene) -> None:
    run = played.run("many", "many-calls")
    assert run["status"] == "completed", run
    assert run["usage"]["tool_calls"] == 127, "the last of the 128 says what was left out"
    deep = played.run("deep", "deep-calls")
    assert (deep["status"], deep["output"]) == ("completed", "ok"), deep
    ended = [one["data"] for one in played.daemon.journal("deep") if one["kind"] == "tool.finished"]
    assert [one["code"] for one in ended] == ["invalid_arguments"], "it is told to the model"
