"""The state machine of a run: the table of the specification, all other moves, the queue, and stopping."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import approvals, events, questions, runs
from kheish.domain.approvals import Approval
from kheish.domain.messages import Conversation
from kheish.domain.questions import Question
from kheish.domain.runs import Run, Status
from kheish.domain.sessions.session import Session
from kheish.domain.spent import Spent
from kheish.domain.turns import Turn
from kheish.errors import RunStateConflict
from tests.support.stateful import Played, approval, question, responded

ERROR = events.RunError(code="x", message="x")
APPROVAL = events.RunWaiting(status="waiting_for_approval")
#: a way into each state
INTO: dict[Status, tuple[events.Event, ...]] = {
    Status.QUEUED: (),
    Status.RUNNING: (events.RunStarted(),),
    Status.WAITING_FOR_APPROVAL: (events.RunStarted(), APPROVAL),
    Status.WAITING_FOR_QUESTION: (events.RunStarted(), events.RunWaiting(status="waiting_for_question")),
    Status.WAITING_FOR_AGENT: (events.RunStarted(), events.RunWaiting(status="waiting_for_agent")),
    Status.COMPLETED: (events.RunStarted(), events.RunCompleted(output="")),
    Status.FAILED: (events.RunFailed(error=ERROR),),
    Status.INTERRUPTED: (events.RunStarted(), events.RunInterrupted()),
    Status.CANCELLED: (events.RunCancelled(),),
}
#: every event that moves a run, and where it leads
MOVES: list[tuple[events.Event, Status]] = [
    (events.RunStarted(), Status.RUNNING),
    (events.RunResumed(reason="x"), Status.RUNNING),
    *((INTO[status][-1], status) for status in INTO if "waiting" in status),
    (events.RunRequeued(reason="x"), Status.QUEUED),
    (events.RunCompleted(output=""), Status.COMPLETED),
    (events.RunFailed(error=ERROR), Status.FAILED),
    (events.RunCancelled(), Status.CANCELLED),
    (events.RunInterrupted(), Status.INTERRUPTED),
]
#: as the specification says it
LEGAL = {
    "queued": "running failed cancelled",
    "running": "waiting_for_approval waiting_for_question waiting_for_agent completed failed interrupted cancelled",
    "waiting_for_approval": "queued failed interrupted cancelled",
    "waiting_for_question": "queued failed interrupted cancelled",
    "waiting_for_agent": "queued failed interrupted cancelled",
}


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize(("event", "target"), MOVES, ids=lambda value: getattr(value, "kind", None))
def test_only_the_moves_of_the_table_are_possible(
    p: Played, status: Status, event: events.Event, target: Status
) -> None:
    run_id = p.submit_run().run_id
    p.move(run_id, *INTO[status])
    restarted = status is Status.RUNNING and isinstance(event, events.RunResumed)  # keeps its status
    if target in LEGAL.get(status, "").split() or restarted:
        assert p.move(run_id, event).status is target
        return
    with pytest.raises(RunStateConflict) as refused:
        runs.step(p.state, run_id, event)
    assert refused.value.extra == {"from_status": status, "to_status": event.kind.removeprefix("run.")}
    assert status in refused.value.detail and event.kind in refused.value.detail


def queue(p: Played) -> tuple[str, ...]:
    return p.state.get(Session, "s").queued


def test_the_queue_is_first_in_first_out(p: Played) -> None:
    ids = [p.submit_run().run_id for _ in range(3)]
    assert [runs.queue_position(p.state, p.run(id)) for id in ids] == [1, 2, 3]
    for id in ids:
        claimed = runs.next_claim(p.state, "s")
        assert claimed is not None and claimed.run_id == id
        p.move(id, events.RunStarted(), events.RunCompleted(output=""))
    assert runs.next_claim(p.state, "s") is None


def test_a_run_that_waits_keeps_the_slot(p: Played) -> None:
    first = p.waiting(approval("a"))
    second = p.submit_run()
    assert runs.next_claim(p.state, "s") is None
    approvals.resolve(p.state, "a", "allow", by="me", via="api")
    claimed = runs.next_claim(p.state, "s")
    assert claimed is not None and claimed.run_id == first.run_id
    assert queue(p) == (second.run_id,)


def test_a_parked_run_lets_others_go_ahead_and_comes_back_to_the_head(p: Played) -> None:
    p.session("t", while_waiting="park")
    first = p.waiting(approval("a"), session_id="t")
    second, third = p.submit_run(session_id="t"), p.submit_run(session_id="t")
    claimed = runs.next_claim(p.state, "t")
    assert claimed is not None and claimed.run_id == second.run_id
    p.move(second.run_id, events.RunStarted())
    approvals.resolve(p.state, "a", "allow", by="me", via="api")
    assert p.state.get(Session, "t").queued == (first.run_id, third.run_id)
    assert runs.queue_position(p.state, p.run(first.run_id)) == 1
    p.move(second.run_id, events.RunCompleted(output=""))
    claimed = runs.next_claim(p.state, "t")
    assert claimed is not None and claimed.run_id == first.run_id


def test_a_run_that_waits_for_an_agent_always_parks(p: Played) -> None:
    first, second = p.submit_run(), p.submit_run()
    p.move(first.run_id, *INTO[Status.WAITING_FOR_AGENT])
    claimed = runs.next_claim(p.state, "s")
    assert claimed is not None and claimed.run_id == second.run_id


@pytest.mark.parametrize("asked", [approval("x"), question("x")])
@pytest.mark.parametrize("verb", [runs.cancel, runs.interrupt])
def test_stopping_a_waiting_run_ends_all_that_is_open(p: Played, asked: Any, verb: Any) -> None:
    run = p.waiting(asked)
    ended = verb(p.state, run.run_id, by="me", reason="enough")
    assert ended.status == ("cancelled" if verb is runs.cancel else "interrupted")
    assert ended.pending_approvals == ended.pending_questions == ()
    kind = Approval if isinstance(asked, events.ApprovalRequested) else Question
    assert p.state.get(kind, "x").status == "cancelled"
    assert p.data("tool.finished")[0]["code"] == "run_ended"
    *_, last, end = p.state.table(Conversation, "s")["s"].messages
    assert (end.role, end.text) == ("ended", ended.status)
    assert (last.role, last.call_id, last.is_error) == ("tool", "call_x", True)
    assert p.state.find(Turn, run.run_id) is None
    assert p.state.get(Session, "s").status == "idle"


@pytest.mark.parametrize("asked", [approval("x"), question("x")])
@pytest.mark.parametrize(
    ("verb", "status"),
    [
        (lambda state, id: runs.complete(state, id, "done"), Status.COMPLETED),
        (lambda state, id: runs.fail(state, id, "x", "x"), Status.FAILED),
        (runs.stop, Status.INTERRUPTED),
    ],
)
def test_every_end_of_a_running_run_closes_what_is_open(p: Played, asked: Any, verb: Any, status: Status) -> None:
    run = p.submit_run()
    p.move(run.run_id, events.RunStarted(), responded(asked), asked)
    runs.interrupt(p.state, run.run_id, by="me")
    ended = verb(p.state, run.run_id)
    assert (ended.status, ended.pending_approvals, ended.pending_questions) == (status, (), ())
    kind = Approval if isinstance(asked, events.ApprovalRequested) else Question
    assert p.state.get(kind, "x").status == "cancelled"
    assert [data["code"] for data in p.data("tool.finished")] == ["run_ended"]
    n = p.state.n
    with pytest.raises(RunStateConflict):
        verb(p.state, run.run_id)
    assert p.state.n == n, "nothing is appended to a run that has ended"


def test_cancelling_twice_is_a_no_op_and_later_verbs_are_refused(p: Played) -> None:
    run = p.submit_run()
    assert runs.cancel(p.state, run.run_id, by="me").status is Status.CANCELLED
    n = p.state.n
    assert runs.cancel(p.state, run.run_id, by="me").status is Status.CANCELLED
    assert p.state.n == n
    with pytest.raises(RunStateConflict):
        runs.interrupt(p.state, run.run_id, by="me")
    assert queue(p) == ()


def test_cancelling_a_completed_run_names_both_states(p: Played) -> None:
    run = p.submit_run()
    p.move(run.run_id, *INTO[Status.COMPLETED])
    with pytest.raises(RunStateConflict) as refused:
        runs.cancel(p.state, run.run_id, by="me")
    assert refused.value.extra == {"from_status": "completed", "to_status": "cancelled"}


def test_a_running_run_is_asked_once_and_cancel_beats_interrupt(p: Played) -> None:
    run = p.submit_run()
    p.move(run.run_id, events.RunStarted())
    for _ in range(2):
        assert runs.interrupt(p.state, run.run_id, by="me").stop_requested == "interrupted"
    for _ in range(2):
        assert runs.cancel(p.state, run.run_id, by="me").stop_requested == "cancelled"
    assert runs.interrupt(p.state, run.run_id, by="me").stop_requested == "cancelled"
    assert p.run(run.run_id).status is Status.RUNNING
    asked = [kind for kind in p.kinds() if kind.endswith("_requested")]
    assert asked == ["run.interrupt_requested", "run.cancel_requested"]


def test_an_interrupted_queued_run_is_stopped_when_it_is_taken(p: Played) -> None:
    run = p.submit_run()
    assert runs.interrupt(p.state, run.run_id, by="me").status is Status.QUEUED
    assert p.run(run.run_id).stop_requested == "interrupted"


def test_the_clock_of_a_run_stands_still_while_it_waits(p: Played) -> None:
    now = [1000.0]
    p.state.clock = lambda: now[0]
    run = p.submit_run()

    def after(seconds: float, event: events.Event) -> Run:
        now[0] += seconds
        return p.move(run.run_id, event)

    after(5, events.RunStarted())
    assert after(3, APPROVAL).active_seconds == pytest.approx(3)
    after(3600, events.RunRequeued(reason="x"))
    after(60, events.RunResumed(reason="x"))
    assert after(2, events.RunCompleted(output="")).active_seconds == pytest.approx(5)


def test_usage_adds_up_over_answers_compactions_and_tools(p: Played) -> None:
    run = p.submit_run()
    usage = events.Usage(input_tokens=10, output_tokens=2, cached_tokens=4, cost_usd=0.5)
    started = events.ToolStarted(
        call_id="c", tool="bash", arguments={}, digest="", key="", effect="effect", replay="unsafe"
    )
    p.move(run.run_id, events.RunStarted(), events.ModelResponded(turn=0, text="", usage=usage), started)
    p.move(run.run_id, events.ContextCompacted(summary="", covers=1, usage=events.Usage(input_tokens=1)))
    assert p.run(run.run_id).usage == Spent(
        input_tokens=11, output_tokens=2, cached_tokens=4, model_calls=2, tool_calls=1, cost_usd=0.5
    )


def test_a_question_and_an_approval_must_both_be_answered(p: Played) -> None:
    run = p.waiting(approval("a"), question("q"))
    approvals.resolve(p.state, "a", "allow", by="me", via="api")
    assert p.run(run.run_id).status is Status.WAITING_FOR_APPROVAL
    questions.decline(p.state, "q", by="me", via="api", reason=None)
    assert p.run(run.run_id).status is Status.QUEUED


def test_a_run_says_what_it_waits_for(p: Played) -> None:
    """A run under way waits for a model server or an MCP server; one that stands waits for a user or an agent."""
    run_id = p.submit_run().run_id

    def after(*happenings: events.Event) -> tuple[str, str] | None:
        on = runs.view(p.move(run_id, *happenings)).waiting_on
        return on and (on.kind, on.what)

    call: dict[str, Any] = {"arguments": {}, "digest": "", "key": "", "effect": "pure", "replay": "safe"}
    echo = "mcp__every__echo"
    assert after() is None
    assert after(events.RunStarted(), events.ToolStarted(call_id="c1", tool="bash", **call)) is None
    assert after(events.ToolStarted(call_id="c2", tool=echo, **call)) == ("mcp", echo)
    assert after(events.ToolFinished(call_id="c2", tool=echo, is_error=False, content="")) is None
    down = events.ModelFailed(turn=1, attempt=1, route="local", error=ERROR, error_kind="unavailable", retry_in=5.0)
    assert after(down) == ("model", "local")
    assert after(responded(approval("a")), approval("a"), APPROVAL) == ("approval", "a")
    assert after(events.RunRequeued(reason="x")) is None
    assert after(events.RunResumed(reason="x"), events.ToolStarted(call_id="c3", tool=echo, **call)) == ("mcp", echo)
    assert after(events.RunCompleted(output="")) is None
