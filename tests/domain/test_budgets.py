"""Budgets: what one more model call would exceed, and what people granted."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import approvals, budgets, events
from kheish.domain.budgets import Spend
from kheish.domain.events import Usage
from kheish.domain.runs import Run
from tests.support.stateful import Played, approval

NOW = "2026-11-22T12:00:00.000000Z"
PRICE = {"input_per_mtok": 1.0, "output_per_mtok": 1.0}


def spend(p: Played, run: Run, **usage: Any) -> None:
    p.move(run.run_id, events.ModelResponded(turn=0, text="", usage=Usage(**usage), route="local"))


def running(p: Played, session_id: str = "s", **budget: Any) -> Run:
    run = p.submit_run(session_id=session_id, budget=budget or None)
    return p.move(run.run_id, events.RunStarted())


@pytest.mark.parametrize(
    ("budget", "used", "grantable"),
    [
        ({"turns": 2}, {}, False),
        ({"model_calls": 2}, {}, False),
        ({"tokens": 20}, {"input_tokens": 6, "output_tokens": 4}, True),
        ({"cost_usd": 0.5}, {"cost_usd": 0.25}, True),
    ],
)
def test_a_limit_is_reached_after_two_calls(p: Played, budget: Any, used: Any, grantable: bool) -> None:
    p.route(script={"echo": True}, price=PRICE)
    run = running(p, **budget)
    spend(p, run, **used)
    assert budgets.check(p.state, p.run(run.run_id), now=NOW) is None
    spend(p, run, **used)
    found = budgets.check(p.state, p.run(run.run_id), now=NOW)
    name, allowed = next(iter(budget.items()))
    assert found == budgets.Exceeded(limit=name, allowed=allowed, spent=allowed)
    assert found.grantable is grantable


def test_a_compaction_is_no_turn(p: Played) -> None:
    run = running(p, turns=1)
    p.move(run.run_id, events.ContextCompacted(summary="", covers=1))
    assert budgets.check(p.state, p.run(run.run_id), now=NOW) is None


def test_wall_time_counts_what_ran(p: Played) -> None:
    p.state.clock = lambda: 1000.0
    run = running(p, wall_time="10s")
    assert budgets.check(p.state, run, now="1970-01-01T00:16:49.000000Z") is None
    found = budgets.check(p.state, run, now="1970-01-01T00:16:50.000000Z")
    assert found is not None and found.limit == "wall_time"


def test_a_sessions_budget_is_for_all_its_runs(p: Played) -> None:
    p.session("t", budget={"tokens": 10})
    first = running(p, "t")
    spend(p, first, input_tokens=10)
    p.move(first.run_id, events.RunCompleted(output=""))
    second = running(p, "t")
    found = budgets.check(p.state, second, now=NOW)
    assert found == budgets.Exceeded(limit="tokens", allowed=10, spent=10)
    p.move(second.run_id, events.ContextCompacted(summary="", covers=1))  # with a checkpoint
    assert p.restart().state.table(Spend, "t") == p.state.table(Spend, "t")


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_what_a_person_grants_is_added_and_a_refusal_remembered(p: Played, decision: Any) -> None:
    run = running(p, tokens=10)
    spend(p, run, input_tokens=12)
    asked = approval("b", tool="budget", call_id="budget", arguments={"limit": "tokens", "spent": 12, "more": 10})
    p.move(run.run_id, asked, events.RunWaiting(status="waiting_for_approval"))
    approvals.resolve(p.state, "b", decision, by="me", via="api")
    after = p.run(run.run_id)
    assert (budgets.check(p.state, after, now=NOW) is None) is (decision == "allow")
    assert after.grant_refused == (None if decision == "allow" else "tokens")
    spend(p, run, input_tokens=8)
    assert budgets.check(p.state, p.run(run.run_id), now=NOW) is not None


def test_spend_is_kept_by_day_and_route(p: Played) -> None:
    run = running(p)
    p.state.clock = lambda: 0.0
    spend(p, run, input_tokens=1, cost_usd=0.5)
    spend(p, run, output_tokens=2)
    p.state.clock = lambda: 86400.0
    spend(p, run, input_tokens=3, cached_tokens=1)
    rows = [budgets.view(row) for row in p.state.table(Spend, "s").values()]
    assert [(row["day"], row["model_calls"], row["cost_usd"]) for row in rows] == [
        ("1970-01-01", 2, 0.5),
        ("1970-01-02", 1, None),
    ]
