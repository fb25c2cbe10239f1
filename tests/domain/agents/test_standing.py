"""The state machine of agents, over a real state: whatever happens, in whatever order, each move is in the table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kheish.domain import events, runs
from kheish.domain.agents import ending, spawn, standing, usage
from kheish.domain.agents.agent import Agent, of_session
from kheish.domain.events import Item
from kheish.domain.runs import Run, Status
from kheish.domain.tasks import task as tasks, verbs
from tests.support.stateful import Played, table


class Family(RuleBasedStateMachine):
    """A root, its child `kid`, and what runs, commands, children and callers do to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.p = Played(Path(self.folder.name))
        self.p.session()
        self.state = self.p.state
        self.number = 0
        self.kid = self.spawn("s")
        self.seen = {self.kid: self.agent(self.kid).status}

    def spawn(self, session_id: str) -> str:
        self.number += 1
        wanted = spawn.Spawn(name=f"kid{self.number}", items=(Item(text="do it"),), by="test")
        child = spawn.plan(self.state, of_session(self.state, session_id), None, wanted)
        self.state.append(*spawn.drafts(self.state, child))
        return child.agent_id

    def agent(self, agent_id: str) -> Agent:
        return self.state.get(Agent, agent_id)

    @property
    def child(self) -> Agent:
        return self.agent(self.kid)

    def teardown(self) -> None:
        self.p.index.close()
        self.folder.cleanup()

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule()
    def a_run_begins(self) -> None:
        run = runs.next_claim(self.state, self.child.session_id)
        if run is not None and run.status is Status.QUEUED:
            self.p.move(run.run_id, events.RunStarted())

    @rule(how=st.sampled_from(["complete", "fail", "cancel", "question", "agent", "approval"]))
    def a_run_goes_on(self, how: str) -> None:
        run = runs.next_claim(self.state, self.child.session_id)
        if run is None or run.status is not Status.RUNNING:
            return
        match how:
            case "complete":
                runs.complete(self.state, run.run_id, "done")
            case "fail":
                runs.fail(self.state, run.run_id, "internal", "it failed")
            case "cancel":
                runs.cancel(self.state, run.run_id, by="test")
                runs.stop(self.state, run.run_id)
            case _:
                self.p.move(run.run_id, events.RunWaiting(status=f"waiting_for_{how}"))

    @rule()
    def a_wait_is_over(self) -> None:
        for run in self.state.table(Run, self.child.session_id).values():
            if run.status in runs.WAITING:
                self.p.move(run.run_id, events.RunRequeued(reason="test"))
                return

    @precondition(lambda self: self.child.runs)
    @rule()
    def a_command_starts(self) -> None:
        self.number += 1
        created = events.TaskCreated(
            task_id=f"task_{self.number}", title="t", status="in_progress",
            shell=events.ShellTask(job=f"job_{self.number}", timeout=None),
        )  # fmt: skip
        self.state.append(created.on(self.child.session_id, next(iter(self.child.runs))))

    @precondition(lambda self: self.child.runs)
    @rule()
    def a_checkpoint_is_written(self) -> None:
        compacted = events.ContextCompacted(summary="all of it", covers=0)
        self.state.append(compacted.on(self.child.session_id, next(iter(self.child.runs))))

    @rule()
    def a_command_ends(self) -> None:
        for task in tasks.running(self.state, self.child.session_id):
            verbs.end(self.state, task.task_id, "out", events.ShellEnding(exit_status=0))
            return

    @precondition(lambda self: self.child.closed_at is None and len(self.child.live) < 3)
    @rule()
    def it_spawns(self) -> None:
        self.spawn(self.child.session_id)

    @rule()
    def its_child_ends(self) -> None:
        for child in self.child.live:
            grandchild = self.agent(child.agent_id)
            for run_id in grandchild.runs:
                runs.cancel(self.state, run_id, by="test")
            ending.settle(self.state, self.agent(child.agent_id), None)
            return

    @rule()
    def the_reactor_looks(self) -> None:
        if ending.is_due(self.state, self.child):
            ending.settle(self.state, self.child, "out")

    @precondition(lambda self: self.child.closed_at is None)
    @rule()
    def a_message_comes(self) -> None:
        self.p.submit_run(session_id=self.child.session_id)
        if self.kid not in {one.agent_id for one in of_session(self.state, "s").live}:
            ending.resume(self.state, self.child)

    @rule()
    def it_is_closed(self) -> None:
        if self.number % 5 == 4:
            ending.close(self.state, self.child, ending.Stopped(), by="test", reason=None, cascade=True)

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def each_move_is_in_the_table(self) -> None:
        before, now = self.seen[self.kid], self.child.status
        assert now == before or now in standing.MOVES[before], f"{before} → {now}"
        self.seen[self.kid] = now

    @invariant()
    def a_child_has_settled_only_when_nothing_is_open(self) -> None:
        child = self.child
        if child.status in ("settled", "failed", "cancelled"):
            assert not child.runs and child.result is not None
        assert (child.waiting_on is None) or child.status == "waiting"

    @invariant()
    def the_parent_has_what_is_live(self) -> None:
        listed = {one.agent_id for one in of_session(self.state, "s").live}
        assert (self.kid in listed) or not self.child.is_live
        assert usage.subtree(self.state, of_session(self.state, "s")) is not None

    @invariant()
    def a_restart_reads_the_same(self) -> None:
        if self.number % 3 == 0:
            session_id = self.child.session_id
            part = self.p.reloaded(session_id)
            assert table(part) == table(self.state.sessions[session_id])


def wakes(p: Played, session_id: str = "s") -> None:
    p.state.append(events.WakeSet(wake_id="wake_1", at="2031-01-01T00:00:00.000000Z", note="look").on(session_id))


def has_goal(p: Played, wait_until: str | None = None) -> None:
    p.state.append(events.GoalSet(goal_id="goal_1", objective="o", completion=(), budget=events.GoalBudget()).on("s"))
    p.state.append(events.GoalDeclared(status="working", next="go on", wait_until=wait_until).on("s"))


def starts_a_command(p: Played) -> None:
    shell = events.ShellTask(job="job_1", timeout=None)
    p.state.append(events.TaskCreated(task_id="t1", title="t", status="in_progress", shell=shell).on("s"))


def spawns(p: Played) -> None:
    wanted = spawn.Spawn(name="kid", items=(Item(text="do it"),), by="test")
    p.state.append(*spawn.drafts(p.state, spawn.plan(p.state, of_session(p.state, "s"), None, wanted)))


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        ((), None),
        ((wakes,), "timer"),
        ((lambda p: has_goal(p, "2031-01-01T00:00:00.000000Z"),), "timer"),
        ((has_goal,), None),
        ((wakes, spawns), "agent"),
        ((wakes, spawns, starts_a_command), "task"),
    ],
)
def test_an_idle_agent_shows_the_first_thing_that_it_expects(
    tmp_path: Path, happens: tuple[Callable[[Played], None], ...], expected: str | None
) -> None:
    p = Played(tmp_path)
    p.session()
    for one in happens:
        one(p)
    agent = of_session(p.state, "s")
    assert (agent.status, agent.waiting_on, agent.unfinished) == ("idle", expected, ())
    run = p.move(p.submit_run().run_id, events.RunStarted())
    assert (of_session(p.state, "s").status, of_session(p.state, "s").waiting_on) == ("running", None)
    p.move(run.run_id, events.RunWaiting(status="waiting_for_approval"))
    assert (of_session(p.state, "s").status, of_session(p.state, "s").waiting_on) == ("waiting", "approval")
    again = p.restart()
    assert again.state.get(Agent, agent.agent_id).waiting_on == "approval"
    again.index.close()


def test_a_pause_of_the_goal_ends_its_wait(tmp_path: Path) -> None:
    p = Played(tmp_path)
    p.session()
    has_goal(p, "2031-01-01T00:00:00.000000Z")
    p.state.append(events.GoalPaused(why="lunch").on("s"))
    assert of_session(p.state, "s").waiting_on is None
    p.state.append(events.WakeSet(wake_id="w", at="2031-01-01T00:00:00.000000Z", note="x").on("s"))
    assert of_session(p.state, "s").waiting_on == "timer"
    p.state.append(events.WakeCancelled(wake_id="w").on("s"))
    assert of_session(p.state, "s").waiting_on is None
    p.index.close()


def test_the_first_of_several_parked_runs_in_the_order_counts(tmp_path: Path) -> None:
    p = Played(tmp_path)
    p.session(while_waiting="park")
    for status in ("question", "approval", "agent"):
        run = p.move(p.submit_run().run_id, events.RunStarted())
        p.move(run.run_id, events.RunWaiting(status=f"waiting_for_{status}"))
        assert of_session(p.state, "s").waiting_on == status
    p.index.close()


Family.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestFamily = Family.TestCase
