"""Claims: one holder, whose changes name the claim; the ends of runs; and a small model that must agree (demand 27)."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from kheish import ids
from kheish.domain import events, runs
from kheish.domain.projects import claims, following, verbs
from kheish.domain.questions import Question
from kheish.domain.runs import Run
from kheish.errors import ClaimLost, Invalid, KheishError, TaskBlocked, TaskClaimed, TaskStateConflict
from tests.domain.projects.boards import NOW, Board


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def run(board: Board, session_id: str = "one") -> Run:
    """A run that works."""
    board.p.session(session_id)
    made = board.p.submit_run(session_id=session_id)
    board.p.move(made.run_id, events.RunStarted())
    return made


def end(board: Board, run: Run, how: str) -> None:
    if how == "completed":
        runs.complete(board.state, run.run_id, "the end")
    elif how == "failed":
        runs.fail(board.state, run.run_id, "internal", "it broke")
    else:
        runs.cancel(board.state, run.run_id, by="ann")
        runs.stop(board.state, run.run_id)


def test_the_loser_learns_the_winner_and_changes_nothing(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        claim = await board.claim("a", "first")
        assert (claim.attempt, claim.expires_at) == (1, ids.stamp(NOW + 300))
        before = board.task("a")
        with pytest.raises(TaskClaimed, match="first") as lost:
            await board.claim("a", "second")
        assert lost.value.extra["claimed_by"] == "first" and board.task("a") == before
        with pytest.raises(TaskClaimed):
            await board.move("a", "completed")  # a person does not finish the work of a holder, either
        assert (await board.move("a", "cancelled")).claim is None

    asyncio.run(play())


def test_a_claim_that_ended_changes_nothing(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        old = await board.claim("a", "first", ttl=5.0)
        board.now += 5.0
        with_new = await board.claim("a", "second")
        assert (with_new.attempt, board.project.claimed) == (2, 1)
        before, n = board.task("a"), board.state.n
        for change in (
            lambda: claims.complete(board.state, board.place, "a", old.claim_id, "late"),
            lambda: claims.release(board.state, board.place, "a", old.claim_id, None),
            lambda: claims.extend(board.state, board.place, "a", old.claim_id, 60.0),
        ):
            with pytest.raises(ClaimLost, match="second has it now"):
                change()
        assert board.task("a") == before and board.state.n == n
        await board.complete("a", with_new.claim_id, "mine")
        with pytest.raises(ClaimLost, match="completed"):
            await board.complete("a", with_new.claim_id, "twice")
        board.p.flush()
        await board.load("a")
        with pytest.raises(ClaimLost, match="completed"):
            await board.complete("a", old.claim_id, "late")
        assert verbs.document(board.state, "p", "a")["output"] == "mine"

    asyncio.run(play())


def test_an_outside_holder_extends_its_claim(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        claim = await board.claim("a", ttl=60.0)
        board.now += 59.0
        assert claims.extend(board.state, board.place, "a", claim.claim_id, 60.0).expires_at == ids.stamp(NOW + 119)
        assert claims.extend(board.state, board.place, "a", claim.claim_id, 5.0).expires_at == ids.stamp(NOW + 119)
        board.now += 59.0
        with pytest.raises(TaskClaimed):
            await board.claim("a", "other")
        for written in ("4s", "25h", "soon"):
            with pytest.raises(Invalid, match="ttl"):
                claims.seconds(written)
        assert (claims.seconds(None), claims.seconds("24h")) == (300.0, 86_400.0)

    asyncio.run(play())


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
def test_a_claim_ends_with_its_run_and_the_third_attempt_asks(board: Board, how: str) -> None:
    async def play() -> None:
        await board.create("a")
        for attempt in (1, 2, 3):
            held = run(board)
            assert (await board.claim_by_run("a", held)).attempt == attempt
            end(board, held, how)
            task = board.follow("a")
            if attempt < 3:
                assert (task.status, task.claim, task.attempt, task.failures) == ("pending", None, attempt + 1, attempt)
                assert board.follow("a") == task  # the second look finds nothing to do
            board.now += 61.0
        assert (task.status, task.block_kind, task.attempt) == ("blocked", "attempts", 4)
        question = board.state.get(Question, task.question_id or "")
        assert question.status == "pending" and question.purpose == "project_task" and question.run_id == held.run_id
        with pytest.raises(TaskBlocked, match="attempts"):
            await board.claim("a")

    asyncio.run(play())


@pytest.mark.parametrize(
    ("answer", "status"), [({"selected": ["a"], "text": "use make"}, "pending"), ({"selected": ["c"]}, "cancelled")]
)
def test_an_answer_decides_on_a_task_that_came_to_nothing(board: Board, answer: dict[str, Any], status: str) -> None:
    async def play() -> None:
        await board.create("a", description="Build it.")
        for _ in range(3):
            held = run(board)
            await board.claim_by_run("a", held)
            end(board, held, "failed")
            board.follow("a")
            board.now += 61.0
        asked = board.state.get(Question, board.task("a").question_id or "")
        doc = {
            **board.state.document(board.state.nouns.by_class[Question], asked),
            "status": "answered",
        }
        doc |= {"answers": {"q1": answer}, "answered_by": "token:ann"}
        verbs.append(board.state, *following.answered(board.task("a"), doc))
        task = board.task("a")
        assert (task.status, task.question_id) == (status, None)
        if status == "pending":
            assert task.failures == 0 and task.description == "Build it.\n\nA person added: use make"
        assert following.answered(task, doc) == []

    asyncio.run(play())


def test_a_run_that_gave_a_task_up_waits_a_minute(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        held = run(board)
        await board.claim_by_run("a", held)
        end(board, held, "failed")
        board.follow("a")
        again = run(board)
        with pytest.raises(TaskBlocked, match="just given"):
            await board.claim_by_run("a", again)
        other = await board.claim_by_run("a", run(board, "s2"), "two")
        claims.release(board.state, board.place, "a", other.claim_id, None)
        board.now += 60.0
        assert (await board.claim_by_run("a", again)).attempt == 3

    asyncio.run(play())


def test_an_agent_works_on_one_task_at_a_time(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        await board.create("b")
        held = run(board)
        claim = await board.claim_by_run("a", held)
        with pytest.raises(TaskBlocked, match="p/a"):
            await board.claim_by_run("b", held)
        assert (await board.claim("b", "outside")).by == "outside"
        assert claims.claim(board.state, board.place, "a", claims.Holder(by="one"), claim.claim_id) == claim  # repeated
        await board.complete("a", claim.claim_id)
        await board.create("c")
        assert (await board.claim_by_run("c", held)).attempt == 1

    asyncio.run(play())


def test_max_claims_counts_what_has_not_lapsed(board: Board) -> None:
    async def play() -> None:
        board.set(max_claims=2)
        for name in "abc":
            await board.create(name)
        await board.claim("a", ttl=5.0)
        await board.claim("b")
        with pytest.raises(TaskBlocked, match="max_claims"):
            await board.claim("c")
        board.now += 5.0
        await board.claim("c")

    asyncio.run(play())


def started(board: Board, task_id: str) -> Run:
    begun = claims.start(board.state, board.place, task_id)
    verbs.append(board.state, *begun.drafts)
    return board.state.get(Run, begun.run_id)


@pytest.mark.parametrize(
    ("how", "status", "output"),
    [("completed", "completed", "the end"), ("failed", "failed", None), ("cancelled", "pending", None)],
)
def test_a_started_task_follows_its_run(board: Board, how: str, status: str, output: str | None) -> None:
    async def play() -> None:
        board.p.session("one")
        await board.create("a", assignee="one")
        begun = started(board, "a")
        assert begun.kind == "project_task" and begun.project == "p" and begun.request.metadata["task_id"] == "a"
        task = board.task("a")
        assert (task.status, task.run_id, task.claim is not None) == ("in_progress", begun.run_id, True)
        with pytest.raises(TaskClaimed):
            started(board, "a")
        board.p.move(begun.run_id, events.RunStarted(), events.RunWaiting(status="waiting_for_question"))
        assert (board.follow("a").status, board.task("a").block_kind) == ("blocked", "needs_input")
        board.p.move(begun.run_id, events.RunRequeued(reason="question"), events.RunResumed(reason="answered"))
        assert board.follow("a").status == "in_progress"
        end(board, begun, how)
        task = board.follow("a")
        assert (task.status, task.output, task.claim) == (status, output, None)

    asyncio.run(play())


def test_a_start_needs_an_agent_and_what_comes_first(board: Board) -> None:
    async def play() -> None:
        board.p.session("one")
        await board.create("a", assignee="ann")
        await board.create("b", assignee="one", blocked_by=("a",))
        await board.create("c")
        for task_id, error, match in (
            ("a", TaskStateConflict, "human"),
            ("b", TaskBlocked, "a comes first"),
            ("c", TaskStateConflict, "no assignee"),
        ):
            with pytest.raises(error, match=match):
                started(board, task_id)
        await board.move("a", "completed")
        begun = started(board, "b")
        await board.create("d", assignee="one")
        with pytest.raises(TaskBlocked, match="p/b"):
            started(board, "d")
        board.p.move(begun.run_id, events.RunStarted())
        end(board, begun, "failed")
        assert board.follow("b").status == "failed"
        board.p.flush()
        await board.load("b", "a")
        assert started(board, "b").run_id == board.task("b").run_id  # what failed can be started again

    asyncio.run(play())


def test_a_limit_of_the_provider_is_no_failure(board: Board) -> None:
    async def play() -> None:
        board.p.session("one")
        await board.create("a", assignee="one")
        for delay in (60.0, 240.0):
            begun = started(board, "a")
            board.p.move(begun.run_id, events.RunStarted())
            runs.fail(board.state, begun.run_id, "model_rate_limited", "slow down", retryable=True)
            task = board.follow("a")
            assert (task.block_kind, task.failures, task.restarts) == ("transient", 0, True)
            assert task.retry_at == ids.stamp(board.now + delay)
            assert following.after_delay(task, board.now + delay - 1) == []
            board.now += delay
            if delay == 60.0:
                verbs.append(board.state, *following.after_delay(task, board.now))
        assert (await board.claim("a")).attempt == 3  # its time has come, whether or not the daemon has looked

    asyncio.run(play())


# --- the model --------------------------------------------------------------------------------------------------------


class Model:
    """What claims promise, in a few lines of its own: a task has at most one holder, and only its id counts."""

    def __init__(self) -> None:
        self.status, self.holder, self.until, self.attempt = "pending", "", 0.0, 1

    def claim(self, name: str, now: float, ttl: float) -> bool:
        is_free = self.status == "pending" or (self.status == "held" and self.until <= now)
        if is_free:
            self.attempt += self.status == "held"
            self.status, self.holder, self.until = "held", name, now + ttl
        return is_free

    def holds(self, name: str) -> bool:
        return self.status == "held" and self.holder == name

    def give_back(self) -> None:
        self.status, self.holder, self.attempt = "pending", "", self.attempt + 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "extend", "release", "complete", "wait", "reopen"]),
        st.integers(0, 2),
        st.sampled_from([5.0, 20.0, 60.0]),
    ),
    max_size=25,
)


@given(steps=STEPS)
@settings(max_examples=20, deadline=None)
def test_claims_agree_with_the_model(steps: list[tuple[str, int, float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare(Board(Path(folder)), steps))


async def _compare(board: Board, steps: list[tuple[str, int, float]]) -> None:
    model, held = Model(), {0: "claim_none", 1: "claim_none", 2: "claim_none"}
    await board.create("a")
    for number, (step, who, ttl) in enumerate(steps):
        name, has_done = f"{who}/{number}", True
        try:
            if step == "claim":
                held[who] = (await board.claim("a", str(who), ttl=ttl)).claim_id
            elif step == "extend":
                claims.extend(board.state, board.place, "a", held[who], ttl)
            elif step == "release":
                claims.release(board.state, board.place, "a", held[who], None)
            elif step == "complete":
                await board.complete("a", held[who], name)
            elif step == "reopen":
                await board.move("a", "pending")
            else:
                board.now += ttl / 2
        except KheishError:
            has_done = False
        expected = True
        if step == "claim":
            expected = model.claim(str(who), board.now, ttl)
        elif step in ("extend", "release", "complete"):
            expected = model.holds(str(who)) and held[who] != "claim_none"
            if expected and step == "extend":
                model.until = board.now + ttl
            elif expected and step == "release":
                model.give_back()
            elif expected:
                model.status = "done"
        elif step == "reopen" and model.status == "done":
            model.status, model.attempt = "pending", model.attempt + 1
        elif step == "reopen" and model.status == "held":
            expected = model.until <= board.now
            if expected:
                model.give_back()
        if step == "claim" and not expected:
            held[who] = held[who] if model.holds(str(who)) else "claim_none"
        assert has_done == expected, (number, step, who)
        board.p.flush()
        await board.load("a")
        doc = verbs.document(board.state, "p", "a")
        assert {"pending": "pending", "held": "in_progress", "done": "completed"}[model.status] == doc["status"]
        assert doc["attempt"] == model.attempt
        assert (doc["claim"]["by"] if doc["claim"] else "") == (model.holder if model.status == "held" else "")
