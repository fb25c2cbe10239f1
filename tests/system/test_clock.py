"""A wall clock that somebody sets back, under a daemon that serves and between two of its lives."""

from __future__ import annotations

from pathlib import Path

from tests.crash import checker
from tests.support import forking
from tests.support.daemon import Daemon, allow, ask, bash, until

CLOCK = Path(__file__).parent.parent / "support" / "clock"
ROUTES = {
    "job": [bash("sleep 1; echo {{input}} >> ledger.txt"), {"text": "done"}],
    "asks": [ask(), {"text": "answered"}],
}


def test_a_clock_that_goes_back_moves_nothing_but_times(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    env = {"PYTHONPATH": forking.on_path(CLOCK), "KHEISH_TEST_CLOCK": str(clock)}
    with Daemon.fresh(tmp_path, routes=ROUTES, permissions=allow("sleep *", "echo *"), env=env) as daemon:
        for name, route in (("j", "job"), ("q", "asks")):
            daemon.client.sessions.create(name, route=route)
        first = daemon.client.runs.start("j", "before")
        question = daemon.client.runs.start("q", "x", wait="20s").data["pending_questions"][0]
        until(daemon.jobs, what="the command runs")
        clock.write_text("-86400")
        second = daemon.client.runs.start("j", "after")
        assert daemon.run(first.run_id)["status"] == "completed"

        daemon.kill9()
        clock.write_text("-172800")
        daemon.start()
        daemon.client.questions.decline(question)
        third = daemon.client.runs.start("j", "last")
        assert [daemon.run(run.run_id)["status"] for run in (second, third)] == ["completed"] * 2
        daemon.quiet()

        lines = daemon.journal("j")
        assert min(line["at"] for line in lines) < lines[0]["at"], "the clock did go back"
        listed = [run["run_id"] for run in daemon.client.runs.list(session="j")["items"]]
        assert listed == [third.run_id, second.run_id, first.run_id]
        assert checker.check(daemon.root, {}, daemon.workspace / "ledger.txt") == []
