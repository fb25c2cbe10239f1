"""Background commands as session tasks: their life, what a session's end does, and what is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.domain import events
from kheish.domain.events import ShellEnding, ShellTask, Spilled
from kheish.domain.permissions import decide as permissions
from kheish.domain.permissions.rules import Mode, Rule, SandboxFacts, ToolCall
from kheish.domain.sessions import end as session_end
from kheish.domain.tasks import task as tasks, verbs
from kheish.domain.tasks.task import Task
from kheish.errors import SessionNotIdle
from tests.support.stateful import Played, table


def made(p: Played, id: str = "task_1") -> Task:
    created = events.TaskCreated(
        task_id=id, title="serve", description="make serve", status="in_progress", owner="a", shell=ShellTask(job="j")
    )
    p.state.append(created.on("s", "run_1", by="agent:a"))
    return p.state.get(Task, id)


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (ShellEnding(exit_status=0), "completed"),
        (ShellEnding(exit_status=2), "failed"),
        (ShellEnding(signal=9), "failed"),
        (ShellEnding(lost=True), "failed"),
        (ShellEnding(signal=15, stopped=True), "cancelled"),
    ],
)
def test_how_it_ends_and_only_once(p: Played, ending: ShellEnding, status: str) -> None:
    made(p)
    task = verbs.end(p.state, "task_1", "out", ending)
    assert (task.status, task.output, task.is_final) == (status, "out", True)
    assert verbs.end(p.state, "task_1", "again", ShellEnding(exit_status=1)) is task
    assert verbs.stop(p.state, "task_1", by="x") is task
    assert p.kinds().count("task.ended") == 1 and "task.stop_requested" not in p.kinds()
    shell = tasks.view(task).shell
    assert shell and shell.lost is ending.lost


def test_a_sessions_end_refuses_or_stops(p: Played) -> None:
    made(p)
    with pytest.raises(SessionNotIdle, match="task_1"):
        session_end.end(p.state, "s", by="x", reason=None, force=False)
    session_end.end(p.state, "s", by="x", reason=None, force=True)
    assert p.kinds()[-2:] == ["task.stop_requested", "session.ended"]
    assert tasks.running(p.state, "s") == [p.state.get(Task, "task_1")]  # until it has ended
    verbs.end(p.state, "task_1", "", ShellEnding(stopped=True))
    assert tasks.running(p.state, "s") == []


def test_what_is_read_back_is_what_was_and_a_large_output_is_sealed_beside_it(p: Played) -> None:
    made(p)
    made(p, "task_2")
    verbs.end(p.state, "task_1", "x" * 50_000, ShellEnding(exit_status=0, output_bytes=50_000))
    output = p.state.get(Task, "task_1").output
    assert isinstance(output, Spilled) and output.bytes == 50_000
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


@pytest.mark.parametrize(
    ("decision", "mode", "expected"),
    [("deny", "bypass", "deny"), ("ask", "default", "ask"), ("allow", "default", "ask")],
)
def test_what_bash_may_not_do_is_not_had_in_the_background(
    tmp_path: Path, decision: str, mode: Mode, expected: str
) -> None:
    rule = Rule.model_validate({"tool": "bash", "match": "git push*", "decision": decision})
    verdict = permissions.decide(
        ToolCall(tool="shell_task_start", effect="effect", arguments={"command": "git push"}),
        mode=mode,
        scopes=(("permissions.yaml", (rule,)),),
        sandbox=SandboxFacts(mode="off", available=False),
        workspace=tmp_path,
    )
    assert verdict.decision == expected
