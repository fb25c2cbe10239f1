"""Tasks of projects: their order, their statuses, what is refused, and what stays in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kheish.domain.projects import verbs
from kheish.domain.projects.task import ProjectTask
from kheish.domain.projects.view import read, view
from kheish.errors import (
    Forbidden,
    Invalid,
    NotFound,
    TaskBlocked,
    TaskClaimed,
    TaskCycle,
    TaskExists,
    TaskStateConflict,
)
from kheish.state import encoding
from tests.domain.projects.boards import Board


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_tasks_wait_for_others(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        await board.create("b")
        last = await board.create("c", blocked_by=("a", "b"), assignee="one")
        assert (last.status, last.block_kind, last.waits_for) == ("blocked", "dependency", ("a", "b"))
        assert board.task("a").blocks == ("c",)
        with pytest.raises(TaskBlocked, match="a, b come first"):
            await board.claim("c")
        await board.move("a", "completed", output="A")
        assert board.task("c").waits_for == ("b",) and board.task("c").status == "blocked"
        await board.move("b", "completed")
        assert (board.task("c").status, board.task("c").block_kind) == ("pending", None)

    asyncio.run(play())


def test_a_failed_task_blocks_those_behind_it_until_it_is_done_after_all(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        await board.create("b", blocked_by=("a",), assignee="one")
        await board.create("c", blocked_by=("b",))
        await board.move("a", "failed", reason="no")
        second, third = board.task("b"), board.task("c")
        assert (second.block_kind, second.failed, second.untold) == ("dependency_failed", ("a",), True)
        assert (third.block_kind, third.failed) == ("dependency", ())  # b may still be done
        board.p.flush()
        late = await board.create("d", blocked_by=("a",))
        assert (late.block_kind, late.untold) == ("dependency_failed", False)  # it has no owner to tell
        again = await board.move("a", "pending")
        assert (again.status, again.attempt, again.blocks) == ("pending", 2, ("b",))
        assert board.task("b").block_kind == "dependency" and board.task("b").waits_for == ("a",)
        await board.move("a", "completed")
        assert board.task("b").status == "pending"

    asyncio.run(play())


def test_cycles_and_unknown_tasks_are_refused(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        await board.create("b", blocked_by=("a",))
        await board.create("c", blocked_by=("b",), parent="a")
        with pytest.raises(TaskCycle, match="a waits for c waits for b waits for a"):
            await board.update("a", blocked_by=("c",))
        with pytest.raises(TaskCycle):
            await board.create("d", blocked_by=("d",))
        with pytest.raises(Invalid, match="there is no task 'x'"):
            await board.create("d", blocked_by=("a", "x"))
        with pytest.raises(Invalid, match="'x'"):
            await board.create("d", parent="x")
        with pytest.raises(TaskCycle, match="above itself"):
            await board.update("a", parent="c")
        with pytest.raises(Invalid, match="members: ann, one, two"):
            await board.create("d", assignee="eve")
        with pytest.raises(TaskExists, match="choose another id"):
            await board.create("a")
        with pytest.raises(Invalid, match="one line"):
            await board.create("d", title="two\nlines")
        assert board.project.counts == {"pending": 1, "blocked": 2}

    asyncio.run(play())


def test_deletion_says_what_is_in_the_way(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        await board.create("b", blocked_by=("a",))
        with pytest.raises(TaskStateConflict, match="b waits for it") as refused:
            verbs.delete(board.state, board.place, "a")
        assert refused.value.extra["tasks"] == ["b"]
        await board.claim("a")
        verbs.delete(board.state, board.place, "b")
        with pytest.raises(TaskClaimed):
            verbs.delete(board.state, board.place, "a")
        await board.move("a", "cancelled")
        board.p.flush()
        await board.load("a", "b")
        verbs.delete(board.state, board.place, "a")
        assert board.project.counts == {} and board.project.total == 0
        board.p.flush()
        await board.load("a")
        with pytest.raises(NotFound):
            verbs.document(board.state, "p", "a")
        with pytest.raises(TaskExists, match="'a' of the project 'p' was deleted, and ids are never reused"):
            await board.create("a")
        assert "title" in TaskExists.title and "id" in TaskExists.title

    asyncio.run(play())


def test_ended_tasks_leave_memory_and_are_found_again(board: Board, tmp_path: Path) -> None:
    async def play() -> None:
        for number in range(30):
            await board.create(f"t{number}")
            await board.move(f"t{number}", "completed" if number % 3 else "cancelled")
        await board.create("open", blocked_by=("t1", "t3"))
        board.p.flush()
        assert set(board.state.table(ProjectTask, "projects/p")) == {"p/open"}
        assert board.project.counts == {"completed": 20, "cancelled": 10, "blocked": 1}
        before = {name: dict(board.state.table(cls, "projects/p")) for name, cls in (("task", ProjectTask),)}
        kept = board.project
        again = board.p.restart(clock=lambda: board.now)
        board.state = again.state
        await board.load("t4")
        assert dict(board.state.table(ProjectTask, "projects/p")) == before["task"]
        assert board.project == kept
        assert verbs.document(board.state, "p", "t4")["status"] == "completed"
        with pytest.raises(TaskStateConflict, match="completed"):
            await board.claim("t4")

    asyncio.run(play())


def test_a_document_is_the_whole_value(board: Board) -> None:
    async def play() -> None:
        await board.create("a", description="d", assignee="one")
        await board.claim("a")
        task = board.task("a")
        assert read(encoding.plain(view(task))) == task

    asyncio.run(play())


def test_owners_are_counted(board: Board) -> None:
    async def play() -> None:
        await board.create("a", assignee="one")
        await board.create("b", assignee="one")
        await board.claim("b", "ann", is_member=True)
        assert board.project.owners == {"one": 2, "ann": 1} and board.project.claimed == 1
        await board.move("b", "cancelled")
        await board.update("a", assignee="two")
        assert board.project.owners == {"two": 1} and board.project.claimed == 0

    asyncio.run(play())


def test_a_review_is_accepted_or_rejected(board: Board) -> None:
    async def play() -> None:
        board.set(review=True)
        await board.create("a")
        await board.create("b", blocked_by=("a",))
        claim = await board.claim("a")
        await board.complete("a", claim.claim_id, "first")
        assert (board.task("a").status, board.task("a").output) == ("in_review", "first")
        assert board.task("b").status == "blocked"
        with pytest.raises(TaskStateConflict, match="in review"):
            await board.claim("a")
        rejected = await board.move("a", "pending", reason="a typo in line 3")
        assert (rejected.status, rejected.attempt, rejected.reason) == ("pending", 2, "a typo in line 3")
        board.p.flush()
        assert board.p.lines[-1]["kind"] == "project_task.rejected"
        claim = await board.claim("a")
        assert (claim.attempt, board.task("a").reason) == (2, "a typo in line 3"), "the next holder sees it"
        await board.complete("a", claim.claim_id, "second")
        board.by = "token:eve"
        ended = await board.move("a", "completed")
        assert (ended.output, ended.result_by, ended.accepted_by) == ("second", "token:ann", "token:eve")
        assert board.task("b").status == "pending"

    asyncio.run(play())


@pytest.mark.parametrize("way", ["holder", "user", "in_review", "person"])
def test_nobody_accepts_their_own_result(board: Board, way: str) -> None:
    async def play() -> None:
        board.set(review=True)
        board.person = "Ann" if way == "person" else None
        await board.create("a")
        if way == "holder":
            await board.complete("a", (await board.claim("a")).claim_id, "mine")
        else:  # without a claim, by a user
            await board.move("a", "in_review" if way == "in_review" else "completed", output="mine")
        assert (board.task("a").status, board.task("a").output) == ("in_review", "mine")
        if way == "person":
            board.by = "token:ann-2"  # the same person
        with pytest.raises(Forbidden, match="another"):
            await board.move("a", "completed")
        board.by, board.person = "token:bob", "Bob"
        assert (await board.move("a", "completed")).status == "completed"

    asyncio.run(play())


def test_the_reason_of_each_change_of_status_is_kept(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        for status in ("blocked", "pending", "in_review", "failed", "pending", "cancelled"):
            assert (await board.move("a", status, reason=f"so {status}")).reason == f"so {status}"

    asyncio.run(play())


def test_a_project_that_is_not_active_starts_nothing(board: Board) -> None:
    async def play() -> None:
        await board.create("a")
        verbs.set_state(board.state, "p", "paused", by="ann")
        with pytest.raises(TaskStateConflict, match="paused"):
            await board.claim("a")
        board.set(title="edited", state="active")
        await board.load()
        assert board.project.state == "paused"  # the file says what it said before
        board.set(state="completed")
        await board.load()
        assert board.project.state == "completed"
        verbs.set_state(board.state, "p", "archived", by="ann")
        with pytest.raises(TaskStateConflict, match="archived"):
            await board.create("b")

    asyncio.run(play())
