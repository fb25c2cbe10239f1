"""A clock that goes back: `at` goes back with it, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kheish import ids
from kheish.domain import approvals, budgets, events
from kheish.domain.approvals import Approval
from tests.support.stateful import Played, approval, table


class Clock:
    """A wall clock that people set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_numbers_grow_and_the_journal_is_read_back_the_same(tmp_path: Path) -> None:
    clock = Clock()
    p = Played(tmp_path, clock=clock)
    p.session()
    first = p.submit_run()
    clock.now -= 3600
    p.move(first.run_id, events.RunStarted())
    clock.now -= 86_400
    p.move(first.run_id, events.RunCompleted(output="done"))
    p.flush()

    assert [line["seq"] for line in p.lines] == [1, 2, 3, 4]
    assert [line["n"] for line in p.lines] == sorted({line["n"] for line in p.lines})
    assert p.lines[-1]["at"] < p.lines[-2]["at"] < p.lines[-3]["at"]
    assert p.run(first.run_id).active_seconds == 0.0
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])
    p.index.close()


def test_wall_time_is_never_negative_and_goes_on_counting(tmp_path: Path) -> None:
    clock = Clock()
    p = Played(tmp_path, clock=clock)
    p.session()
    run = p.submit_run(budget={"wall_time": 60.0})
    p.move(run.run_id, events.RunStarted())
    clock.now += 30
    p.move(run.run_id, events.RunWaiting(status="waiting_for_approval"))
    assert p.run(run.run_id).active_seconds == 30.0
    p.move(run.run_id, events.RunRequeued(reason="approval"), events.RunResumed(reason="answered"))

    clock.now -= 7200
    assert budgets.check(p.state, p.run(run.run_id), now=ids.stamp(clock())) is None
    p.move(run.run_id, events.RunWaiting(status="waiting_for_approval"))
    assert p.run(run.run_id).active_seconds == 30.0
    p.move(run.run_id, events.RunRequeued(reason="approval"), events.RunResumed(reason="answered"))
    clock.now += 31
    exceeded = budgets.check(p.state, p.run(run.run_id), now=ids.stamp(clock()))
    assert exceeded is not None and exceeded.limit == "wall_time"
    p.index.close()


def test_nothing_expires_early_and_all_of_it_in_the_end(tmp_path: Path) -> None:
    clock = Clock()
    p = Played(tmp_path, clock=clock)
    p.session()
    p.waiting(approval("appr_1", expires_at=ids.stamp(clock() + 600)))
    clock.now -= 3600
    assert approvals.expire(p.state, ids.stamp(clock())) == []
    clock.now += 3600 + 601
    assert approvals.expire(p.state, ids.stamp(clock())) == ["appr_1"]
    assert p.state.get(Approval, "appr_1").status == "expired"
    p.index.close()


def test_ids_of_one_process_never_sort_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    made = [ids.new("run")]
    for back in (0.0, 5.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda back=back: now - back)
        made.append(ids.new("run"))
    assert len(set(made)) == 4
    assert [one[:14] for one in made] == sorted(one[:14] for one in made)
