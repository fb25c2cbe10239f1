"""Session tasks that agents and users plan: titles, order, owners, ends."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain.events import ShellEnding, ShellTask, TaskCreated
from kheish.domain.events.mailboxes import Sender
from kheish.domain.mailboxes.message import Message, pending
from kheish.domain.tasks import verbs
from kheish.domain.tasks.task import Task, view
from kheish.domain.tasks.verbs import Author, Fields, Owner
from kheish.errors import Invalid, TaskBlocked, TaskCycle, TaskExists, TaskStateConflict, TooMany
from kheish.state import loading
from tests.support.stateful import Played, table

USER = Author(sender=Sender(actor="token:ann"))


def create(p: Played, which: str, **more: Any) -> Task:
    change = verbs.create(p.state, "s", f"task_{which}", Fields(title=which, **more), USER)
    p.state.append(*change.drafts)
    return p.state.get(Task, change.task_id)


def update(p: Played, which: str, **changes: Any) -> Task:
    change = verbs.update(p.state, f"task_{which}", Fields(**changes), USER)
    if change.drafts:
        p.state.append(*change.drafts)
    return p.state.get(Task, f"task_{which}")


def task(p: Played, which: str) -> Task:
    return p.state.get(Task, f"task_{which}")


def test_a_title_is_unique_among_active_tasks(p: Played) -> None:
    create(p, "build")
    with pytest.raises(TaskExists, match="task_build"):
        verbs.create(p.state, "s", "task_2", Fields(title="build"), USER)
    create(p, "test")
    with pytest.raises(TaskExists):
        update(p, "test", title="build")
    update(p, "build", status="completed", output="it is built")
    assert verbs.create(p.state, "s", "task_2", Fields(title="build"), USER).drafts


def test_tasks_wait_for_others(p: Played) -> None:
    for title in ("a", "b"):
        create(p, title)
    last = create(p, "c", blocked_by=("task_a", "task_b"))
    assert (last.status, last.block_kind) == ("blocked", "dependency")
    assert task(p, "a").blocks == ("task_c",) and view(task(p, "b")).blocks == ("task_c",)
    with pytest.raises(TaskBlocked, match="task_a"):
        update(p, "c", status="in_progress")
    update(p, "a", status="completed")
    assert task(p, "c").status == "blocked"
    update(p, "b", status="failed")
    assert (task(p, "c").status, task(p, "c").block_kind) == ("blocked", "dependency_failed")
    update(p, "c", blocked_by=("task_a",))
    assert (task(p, "c").status, task(p, "b").blocks) == ("pending", ())
    update(p, "c", status="in_progress")


def test_the_last_of_them_sets_it_free(p: Played) -> None:
    create(p, "a")
    create(p, "b", blocked_by=("task_a",))
    update(p, "a", status="completed")
    assert (task(p, "b").status, task(p, "b").block_kind) == ("pending", None)
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


def test_cycles_and_unknown_tasks_are_refused(p: Played) -> None:
    create(p, "a")
    create(p, "b", blocked_by=("task_a",))
    create(p, "c", blocked_by=("task_b",))
    with pytest.raises(TaskCycle, match="task_a waits for task_c waits for task_b waits for task_a"):
        update(p, "a", blocked_by=("task_c",))
    with pytest.raises(TaskCycle):
        update(p, "a", blocked_by=("task_a",))
    with pytest.raises(Invalid) as unknown:
        update(p, "a", blocked_by=("task_b", "task_x"))
    assert [fault.path for fault in unknown.value.errors] == ["/blocked_by/1"]


def test_what_has_ended_changes_no_more(p: Played) -> None:
    create(p, "a")
    update(p, "a", status="cancelled")
    with pytest.raises(TaskStateConflict):
        update(p, "a", status="pending")
    create(p, "b", blocked_by=("task_a",))
    p.flush()
    p.state.append(loading.checkpoint(p.state.sessions["s"]).on("s"))
    assert p.state.find(Task, "task_a") is None and task(p, "b").status == "blocked"


def test_assigning_to_another_agent_is_a_message_in_the_same_group(p: Played) -> None:
    other = p.session("t")
    p.flush()
    create(p, "a", owner=Owner(agent_id=other.agent_id, session_id="t"), description="all of it")
    assert len(p.groups) == 1 and pending(p.state, "t") == 1
    (message,) = p.state.table(Message, "t").values()
    assert message.type == "task_assignment" and message.sender.actor == "token:ann"
    assert isinstance(message.payload, dict) and message.payload["description"] == "all of it"
    update(p, "a", owner=Owner(agent_id=other.agent_id, session_id="t"))
    assert pending(p.state, "t") == 1, "it has it already"
    assert update(p, "a", unassigned=True).owner is None


def test_bounds(p: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    for fields in (
        {"title": "x" * 201},
        {"title": "two\nlines"},
        {"title": "x", "metadata": {"x": "y" * 20_000}},
        {"title": "x", "description": "x" * 300_000},
        {"title": "x", "block_kind": "capability"},
    ):
        with pytest.raises(Invalid):
            verbs.create(p.state, "s", "task_x", Fields(**fields), USER)  # type: ignore[arg-type]  # as a caller sends it
    monkeypatch.setattr(verbs, "ACTIVE", 2)
    create(p, "a")
    create(p, "b")
    with pytest.raises(TooMany):
        create(p, "c")


@pytest.mark.demand(21)
@pytest.mark.parametrize(
    ("notify", "ending", "asked_to_stop", "posted"),
    [
        (True, ShellEnding(exit_status=0), False, True),
        (True, ShellEnding(lost=True), False, True),
        (True, ShellEnding(stopped=True), True, True),
        (True, ShellEnding(stopped=True), False, False),  # by the agent itself
        (False, ShellEnding(exit_status=1), False, False),
    ],
)
def test_21_a_commands_end_is_posted_in_its_group(
    p: Played, notify: bool, ending: ShellEnding, asked_to_stop: bool, posted: bool
) -> None:
    shell = ShellTask(job="j")
    p.state.append(TaskCreated(task_id="task_1", title="t", status="in_progress", shell=shell, notify=notify).on("s"))
    if asked_to_stop:
        verbs.stop(p.state, "task_1", by="token:ann")
    p.flush()
    verbs.end(p.state, "task_1", "x" * 10_000 + "the end", ending)
    assert len(p.groups) == 1
    messages = list(p.state.table(Message, "s").values())
    assert [one.type for one in messages] == ["task_result"] * posted
    if posted:
        payload: Any = messages[0].payload
        assert payload["output"].endswith("the end") and len(payload["output"]) < 7000
        assert messages[0].message_id == "msg_1"
