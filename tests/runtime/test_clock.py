"""A wall clock that somebody sets back while a run is under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.harness import Live, call, living


@pytest.fixture(params=[-86_400.0, -3600.0])
def back(request: pytest.FixtureRequest) -> float:
    return float(request.param)


async def test_wall_time_still_ends_the_run_and_the_session_goes_on(tmp_path: Path, back: float) -> None:
    async with living(tmp_path) as it:
        it.allow("bash")
        it.script(call("bash", command="sleep 30"), {"text": "slept"})
        it.route("echoes")
        run = it.submit_run(route="local", budget={"wall_time": 0.4})
        await it.until(lambda: it.run_of(run.run_id).started_at)
        real = it.state.clock
        it.state.clock = lambda: real() + back

        ended = await it.rest(run.run_id)
        after = await it.ask("still here", route="echoes")

        assert ended.error is not None and ended.error.code == "limit_exceeded"
        assert ended.finished_at is not None and ended.started_at is not None
        assert ended.finished_at < ended.started_at and ended.active_seconds >= 0.0
        assert (after.output, after.n > ended.n) == ("still here", True)
        assert_grows(it)


def assert_grows(it: Live) -> None:
    it.flush()
    numbers = [line["n"] for line in it.lines]
    assert numbers == sorted(set(numbers))
    assert [line["seq"] for line in it.lines] == list(range(1, len(it.lines) + 1))
