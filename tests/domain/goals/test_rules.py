"""The rules of goals: the next step over any history, against a model that counts for itself; and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from kheish import ids
from kheish.domain import budgets, events, questions, runs
from kheish.domain.agents import spawn
from kheish.domain.agents.agent import of_session
from kheish.domain.events import Item
from kheish.domain.goals import advance, goal as goals, rules, verbs
from kheish.domain.goals.goal import Goal
from kheish.domain.goals.verbs import Wanted
from kheish.domain.questions import Question
from kheish.domain.runs import Run, Status
from kheish.domain.sessions import end
from kheish.errors import GoalStateConflict, Invalid, NotFound, SessionEnded, SessionNotIdle
from tests.support.stateful import Played, table

NOW = 1_800_000_000.0


class Clock:
    """A clock that a test moves."""

    now = NOW

    def __call__(self) -> float:
        return self.now


def begun(p: Played, **wanted: Any) -> Goal:
    limits = wanted.pop("budget", {})
    p.state.append(*verbs.set_goal(p.state, "s", Wanted(objective="reach it", limits=limits, **wanted), by="test"))
    return verbs.get(p.state, "s")


def goal(p: Played) -> Goal:
    return verbs.get(p.state, "s")


def step(p: Played) -> float | None:
    return advance.advance(p.state, "s", p.state.clock())


def declare(p: Played, run_id: str, **said: Any) -> None:
    p.state.append(*verbs.declare(p.state, p.run(run_id), events.GoalDeclared(**said), by="agent"))


def work(p: Played, run_id: str, *, tool: bool = False, tokens: int = 0, over: str = "completed") -> None:
    """What happens in a run, and its end."""
    usage = events.Usage(input_tokens=tokens)
    p.move(run_id, events.RunStarted(), events.ModelResponded(turn=0, text="", usage=usage))
    if tool:
        called = events.ToolStarted(
            call_id="c", tool="bash", arguments={}, digest="", key="k", effect="effect", replay="unsafe"
        )
        p.move(run_id, called)
    ends = {
        "completed": events.RunCompleted(output="done"),
        "failed": events.RunFailed(error=events.RunError(code="model_server", message="500")),
        "cancelled": events.RunCancelled(),
        "interrupted": events.RunInterrupted(),
    }
    p.move(run_id, ends[over])


@dataclass
class Model:
    """The rules in other words: what a goal without a claim is after each end of its run."""

    budget: int
    status: str = "active"
    spent: int = 0
    silent: int = 0
    failed: int = 0
    waits: float = 0.0
    last: str | None = None

    def end(self, deed: str, tokens: int) -> None:
        self.spent += tokens
        full = self.spent >= self.budget
        if deed == "cancelled":
            self.status = "paused"
        elif deed == "failed":
            if not full:
                self.failed += 1
                self.waits = min(60 * 4 ** (self.failed - 1), 3600)
        else:
            # "same" names the step of before, which is news only once
            moved = deed in ("tool", "new") or (deed == "same" and self.last != "same")
            self.silent = 0 if moved else self.silent + 1
            self.failed, self.waits = 0, 0.0
        if deed in ("new", "same"):
            self.last = deed
        if self.status == "active":
            if self.failed == 5 or self.silent == 2:
                self.status = "paused"
            elif full:
                self.status = "budget_limited"

    def resume(self) -> None:
        self.status, self.silent, self.failed, self.waits = "active", 0, 0, 0.0


DEEDS = st.tuples(
    st.sampled_from(["tool", "silent", "new", "same", "failed", "cancelled", "resume"]), st.integers(0, 40)
)


@given(deeds=st.lists(DEEDS, max_size=18), budget=st.integers(30, 400))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_history_leads_where_the_model_says(deeds: list[tuple[str, int]], budget: int) -> None:
    clock = Clock()
    with TemporaryDirectory() as folder:
        p = Played(Path(folder), clock=clock)
        p.session()
        begun(p, budget={"tokens": budget})
        model, number = Model(budget), 0
        for deed, tokens in deeds:
            if deed == "resume" and model.status == "paused" and model.spent < budget:
                p.state.append(*verbs.resume(p.state, "s", by="test"))
                model.resume()
            if deed == "resume" or model.status != "active":
                continue
            due = step(p)
            if model.waits:
                assert due == pytest.approx(clock.now + model.waits, abs=1) and goal(p).run is None
                clock.now += model.waits
                step(p)
            run = goal(p).run
            assert run is not None and run.purpose == "work"
            number += 1
            assert goal(p).number == number
            assert step(p) is None and goal(p).number == number, "while it has a run, there is no other"
            if deed in ("new", "same"):
                declare(p, run.run_id, status="working", next=f"{number}" if deed == "new" else "same")
            over = deed if deed in ("failed", "cancelled") else "completed"
            work(p, run.run_id, tool=deed == "tool", tokens=tokens, over=over)
            model.end(deed, tokens)
            step(p)
            if model.status == "budget_limited":
                assert goal(p).run is not None and goal(p).run.purpose == "wrap_up"  # type: ignore[union-attr]
            assert goal(p).status == model.status, (deed, goal(p))
            assert goal(p).usage.spent.input_tokens == model.spent
        assert table(p.reloaded("s")) == table(p.state.sessions["s"]), "a restart finds the same"
        p.index.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def p(tmp_path: Path, clock: Clock) -> Any:
    played = Played(tmp_path, clock=clock)
    played.session()
    yield played
    played.index.close()


def run_of(p: Played) -> str:
    """The run of the goal, which the next step starts where there is none."""
    step(p)
    run = goal(p).run
    assert run is not None, goal(p)
    return run.run_id


def test_the_question_of_a_pause_is_answered_or_withdrawn(p: Played) -> None:
    begun(p)
    for _ in range(2):
        work(p, run_of(p))
    step(p)
    asked = p.state.get(Question, goal(p).question_id or "")
    assert (asked.purpose, asked.run_id, asked.status) == ("goal", goal(p).runs[-1], "pending")
    answer = {"q1": {"selected": [], "text": "look in the attic"}}
    questions.answer(p.state, asked.question_id, answer, by="ann", via="api")
    assert (goal(p).status, goal(p).note) == ("active", "look in the attic")
    text = p.run(run_of(p)).request.items[0].text
    assert isinstance(text, str) and "look in the attic" in text and "reach it" in text
    work(p, run_of(p))
    work(p, run_of(p))
    step(p)
    questions.answer(p.state, goal(p).question_id or "", {"q1": {"selected": ["b"]}}, by="ann", via="api")
    assert (goal(p).status, goal(p).question_id) == ("paused", None), "it stays paused"
    p.state.append(*verbs.resume(p.state, "s", by="ann"))
    for _ in range(2):
        work(p, run_of(p))
    step(p)
    id = goal(p).question_id or ""
    p.state.append(*verbs.clear(p.state, "s", by="ann"))
    assert p.state.get(Question, id).status == "cancelled"
    with pytest.raises(NotFound):
        verbs.get(p.state, "s")
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


def test_other_work_goes_first(p: Played, clock: Clock) -> None:
    user = p.submit_run("hello")
    begun(p)
    assert step(p) is None and goal(p).run is None, "the session is not idle"
    work(p, user.run_id)
    first = run_of(p)
    second = p.submit_run("me first")
    assert p.state.sessions["s"].tables[type(p.session())]["s"].queued == (second.run_id, first)
    work(p, second.run_id)
    declare(p, first, status="working", next="wait", wait_until=ids.stamp(clock.now + 90))
    work(p, first)
    assert step(p) == pytest.approx(clock.now + 90)
    clock.now += 91
    assert run_of(p) != first


def test_a_claim_stands_only_with_the_end_of_its_run_and_the_requirement(p: Played) -> None:
    begun(p, completion=("it is good", {"workspace_file": "x"}))
    first = run_of(p)
    declare(p, first, status="complete", why="done")
    work(p, first, over="failed")
    assert goal(p).claim is None, "a run that failed proves nothing"
    p.state.append(*verbs.resume(p.state, "s", by="ann"), events.GoalResumed().on("s"))
    second = run_of(p)
    declare(p, second, status="complete")
    declare(p, second, status="working", next="not yet")
    work(p, second)
    third = run_of(p)
    assert p.run(third).request.metadata["purpose"] == "work", "it was taken back"
    declare(p, third, status="complete", why="done")
    work(p, third)
    check = run_of(p)
    assert p.run(check).request.metadata["purpose"] == "check" and len(p.run(check).settings.completion) == 2
    p.state.append(*verbs.change(p.state, "s", Wanted(completion=("more",)), events.GoalBudget(), by="ann"))
    work(p, check)
    step(p)
    assert goal(p).status == "active", "the requirement has changed meanwhile"
    fifth = run_of(p)
    declare(p, fifth, status="complete", why="done")
    work(p, fifth)
    work(p, run_of(p))
    step(p)
    assert (goal(p).status, goal(p).why) == ("complete", "done")


@pytest.mark.parametrize("change", ["cleared and set again", "another objective", "set over it"])
def test_a_run_of_an_earlier_objective_cannot_claim_the_new_one(p: Played, change: str) -> None:
    begun(p)
    stale = run_of(p)
    p.move(stale, events.RunStarted())
    wanted = Wanted(objective="something else")
    if change == "another objective":
        p.state.append(*verbs.change(p.state, "s", wanted, events.GoalBudget(), by="ann"))
    else:
        if change == "cleared and set again":
            p.state.append(*verbs.clear(p.state, "s", by="ann"))
        p.state.append(*verbs.set_goal(p.state, "s", wanted, by="ann"))
    with pytest.raises(GoalStateConflict, match="after this run began"):
        declare(p, stale, status="complete")
    declare(p, stale, status="working", next="look at it")
    runs.complete(p.state, stale, "done")
    fresh = run_of(p)
    declare(p, fresh, status="complete", why="done")
    work(p, fresh)
    step(p)
    assert (goal(p).status, goal(p).objective) == ("complete", "something else")
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


@pytest.mark.parametrize("required", [(), ({"workspace_file": "x"},)])
def test_a_word_during_a_pause_has_effect_at_its_end(p: Played, required: tuple[Any, ...]) -> None:
    begun(p, completion=required, budget={"tokens": 9})
    claims = run_of(p)
    p.move(claims, events.RunStarted())
    p.state.append(*verbs.pause(p.state, "s", "lunch", by="ann"))
    declare(p, claims, status="working", next="look at it")
    declare(p, claims, status="complete", why="all is done")
    used = events.Usage(input_tokens=0 if required else 9)
    p.move(claims, events.ModelResponded(turn=0, text="", usage=used), events.RunCompleted(output="done"))
    assert step(p) is None
    assert (goal(p).status, goal(p).why, goal(p).next, goal(p).claim) == ("paused", "lunch", "look at it", claims)
    p.state.append(*verbs.resume(p.state, "s", by="ann"))
    if required:
        work(p, run_of(p))
    step(p)
    assert (goal(p).status, goals.view(goal(p)).why, goal(p).number) == ("complete", "all is done", 1 + len(required))
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


def test_waiting_for_a_time_is_a_step_however_often(p: Played, clock: Clock) -> None:
    """Unlike the same words without a time, which count once."""
    begun(p)
    for number in range(1, 6):
        run = run_of(p)
        assert goal(p).number == number
        declare(p, run, status="working", next="look at CI", wait_until=ids.stamp(clock.now + 60))
        work(p, run)
        assert step(p) == pytest.approx(clock.now + 60, abs=1) and goal(p).idle == 0
        clock.now += 61
    for _ in range(2):
        run = run_of(p)
        declare(p, run, status="working", next="look at CI")
        work(p, run)
    step(p)
    assert (goal(p).status, goal(p).why) == ("paused", "no_progress")


def test_claims_that_are_always_false_pause_the_goal(p: Played, clock: Clock) -> None:
    begun(p, completion=({"workspace_file": "x"},))
    for number in range(1, 6):
        claims = run_of(p)
        declare(p, claims, status="complete")
        work(p, claims)
        check = run_of(p)
        assert p.run(check).request.metadata["purpose"] == "check"
        work(p, check, over="failed")
        assert goal(p).failures == number
        clock.now += 3601
    step(p)
    assert (goal(p).status, goal(p).why) == ("paused", "failures")


def test_the_time_of_runs_counts_and_the_next_run_gets_the_rest(p: Played, clock: Clock) -> None:
    begun(p, budget={"wall_time": 100.0})
    run = run_of(p)
    assert p.run(run).settings.limits.wall_time == 100
    p.move(run, events.RunStarted())
    clock.now += 60
    p.move(run, events.RunWaiting(status="waiting_for_approval"))
    clock.now += 1000
    p.move(run, events.RunRequeued(reason="approval"), events.RunResumed(reason="answered"))
    clock.now += 10
    p.move(run, events.ModelResponded(turn=0, text=""), events.RunCompleted(output="x"))
    assert goal(p).usage.seconds == 70
    second = run_of(p)
    assert p.run(second).settings.limits.wall_time == 30
    p.move(second, events.RunStarted())
    clock.now += 30
    p.move(second, events.RunFailed(error=events.RunError(code="limit_exceeded", message="")))
    assert p.run(run_of(p)).request.metadata["purpose"] == "wrap_up" and goal(p).failures == 0


def test_a_compaction_in_the_middle_keeps_the_goal(p: Played) -> None:
    begun(p, completion=({"output_matches": {"type": "object"}}, "it is good"), budget={"tokens": 100})
    run = run_of(p)
    p.move(run, events.RunStarted())
    declare(p, run, status="working", next="more")
    summary = events.ContextCompacted(summary="so far", covers=3, usage=events.Usage(input_tokens=30))
    p.move(run, summary)
    assert goal(p).usage.spent.input_tokens == 30
    assert table(p.reloaded("s")) == table(p.state.sessions["s"]), "the checkpoint has it all"
    p.move(run, events.ModelResponded(turn=0, text=""), events.RunCompleted(output="x"))
    assert goal(p).idle == 0 and goal(p).next == "more"


def test_what_a_child_spends_counts(p: Played) -> None:
    begun(p, budget={"tokens": 100})
    run = run_of(p)
    p.move(run, events.RunStarted())
    spent = events.Spent(input_tokens=90, output_tokens=20)
    p.state.append(events.ChildSettled(agent_id="agent_x", status="settled", spent=spent).on("s", run))
    assert goal(p).limit == "tokens"


def test_a_submission_that_is_refused_counts_as_a_failure(p: Played) -> None:
    begun(p)
    p.state.definitions.by_kind["routes"].clear()
    due = step(p)
    assert due == pytest.approx(NOW + 60, abs=1)
    assert goal(p).failures == 1 and goal(p).number == 0 and goal(p).last_error is not None
    assert isinstance(rules.next_step(goal(p), is_idle=True, now=NOW + 30), rules.Wait)


def test_what_is_refused(p: Played) -> None:
    for wanted in (Wanted(objective=" "), Wanted(objective="x" * 4001), Wanted(objective="x", completion=(3,))):
        with pytest.raises(Invalid):
            verbs.set_goal(p.state, "s", wanted, by="ann")
    begun(p, budget={"tokens": 10})
    run = p.run(run_of(p))
    with pytest.raises(GoalStateConflict, match="has a goal already"):
        verbs.create(p.state, run, "goal_2", Wanted(objective="x"), by="agent")
    with pytest.raises(Invalid, match="no limit of cost_usd"):
        verbs.change(p.state, "s", Wanted(), events.GoalBudget(cost_usd=1), by="ann")
    with pytest.raises(Invalid, match="tokens is too large"):
        verbs.change(p.state, "s", Wanted(), events.GoalBudget(tokens=ids.MOST), by="ann")
    for said in ({}, {"wait_until": ids.stamp(NOW - 1)}, {"wait_until": ids.stamp(NOW + 9e8)}):
        with pytest.raises(Invalid):
            declare(p, run.run_id, status="working", **said)
    p.state.append(*verbs.clear(p.state, "s", by="ann"))
    with pytest.raises(GoalStateConflict, match="sets no other goal"):
        verbs.create(p.state, run, "goal_2", Wanted(objective="x"), by="agent")
    begun(p)
    p.state.append(events.SessionEnded().on("s"))
    with pytest.raises(SessionEnded):
        verbs.resume(p.state, "s", by="ann")
    with pytest.raises(SessionEnded):
        begun(p)


@pytest.mark.parametrize("attended", ["deny", "ask"])
def test_the_runs_of_a_goal_are_as_attended_as_the_run_that_set_it(p: Played, attended: str) -> None:
    run = p.submit_run(unattended=attended)
    p.move(run.run_id, events.RunStarted())
    p.state.append(*verbs.create(p.state, run, "goal_1", Wanted(objective="x"), by="agent"))
    p.move(run.run_id, events.RunCompleted(output="x"))
    assert p.run(run_of(p)).settings.unattended == attended
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])
    p.state.append(*verbs.clear(p.state, "s", by="ann"))
    begun(p)  # a person sets the next one
    assert p.run(run_of(p)).settings.unattended == "ask"


def test_a_goal_with_the_same_id_keeps_its_usage(p: Played) -> None:
    first = begun(p, budget={"tokens": 5})
    work(p, run_of(p), tokens=7)
    step(p)
    assert goal(p).status == "budget_limited"
    same = begun(p, budget={"tokens": 9, "wall_time": 60.0})
    assert (same.goal_id, same.status, same.usage.spent.input_tokens) == (first.goal_id, "active", 7)
    assert begun(p).budget == same.budget, "limits stay, as the usage does"
    with pytest.raises(GoalStateConflict, match=r"used up its budget \(tokens\)"):
        begun(p, budget={"tokens": 7})
    assert begun(p, budget={"wall_time": None, "cost_usd": 2.0}).budget == events.GoalBudget(tokens=9, cost_usd=2.0)
    assert goals.view(same).usage.tokens == 7
    assert p.state.find(Run, same.runs[-1]) is not None


def test_a_spawned_agent_has_no_goal_and_its_calls_count_for_the_goal_above(p: Played) -> None:
    begun(p, budget={"tokens": 100})
    run = run_of(p)
    p.move(run, events.RunStarted())
    wanted = spawn.Spawn(name="kid", items=(Item(text="go"),), by="test")
    child = spawn.plan(p.state, of_session(p.state, "s"), p.run(run), wanted)
    p.state.append(*spawn.drafts(p.state, child))
    with pytest.raises(GoalStateConflict, match="its prompt is its task"):
        verbs.set_goal(p.state, child.session_id, Wanted(objective="x"), by="ann")
    [kid] = p.state.table(Run, child.session_id).values()
    now = ids.stamp(NOW)
    p.move(kid.run_id, events.RunStarted())
    assert budgets.check(p.state, p.run(kid.run_id), now=now) is None
    p.move(kid.run_id, events.ModelResponded(turn=0, text="", usage=events.Usage(input_tokens=120)))
    for id in (run, kid.run_id):
        excess = budgets.check(p.state, p.run(id), now=now)
        assert excess is not None and not excess.grantable
        assert (excess.limit, excess.spent, excess.above) == ("tokens", 120, "the goal of s")


def test_an_end_of_a_session_says_what_helps(p: Played) -> None:
    """Waiting alone does not: the runs of an active goal follow each other."""
    begun(p)
    run = run_of(p)
    p.move(run, events.RunStarted())
    with pytest.raises(SessionNotIdle, match="kheish goals pause s"):
        end.end(p.state, "s", by="ann", reason=None, force=False)
    p.state.append(*verbs.pause(p.state, "s", "lunch", by="ann"))
    with pytest.raises(SessionNotIdle, match="; wait for them"):
        end.end(p.state, "s", by="ann", reason=None, force=False)
    p.move(run, events.RunCompleted(output="done"))
    assert end.end(p.state, "s", by="ann", reason=None, force=False).ended_at is not None


@pytest.mark.parametrize("change", ["pause", "clear"])
def test_a_pause_leaves_a_run_that_works_and_cancels_one_that_has_not_begun(p: Played, change: str) -> None:
    def stop() -> None:
        p.state.append(*(verbs.pause(p.state, "s", "lunch", by="ann") if change == "pause" else
                         verbs.clear(p.state, "s", by="ann")))  # fmt: skip

    p.session()
    begun(p)
    advance.advance(p.state, "s", NOW)
    (queued,) = p.state.table(Run, "s").values()
    stop()
    assert p.run(queued.run_id).status is Status.CANCELLED
    if change == "pause":
        p.state.append(*verbs.resume(p.state, "s", by="ann"))
    else:
        begun(p)
    advance.advance(p.state, "s", NOW)
    run = next(one for one in p.state.table(Run, "s").values() if not one.is_final)
    p.move(run.run_id, events.RunStarted())
    stop()
    assert p.run(run.run_id).status is Status.RUNNING
    runs.complete(p.state, run.run_id, "done")
    assert advance.advance(p.state, "s", NOW) is None and all(one.is_final for one in p.state.table(Run, "s").values())
