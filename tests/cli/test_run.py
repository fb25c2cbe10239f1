"""`kheish run` and `runs follow`: what is sent, what is shown, how it ends."""

import contextlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from kheish.cli.main import main
from tests.cli.terminal import typed
from tests.cli.test_main import APPROVAL
from tests.support.daemon_standin import Standin, frame, problem, run_view

SESSION = {"session_id": "s", "status": "idle"}


@pytest.fixture
def started(at: Standin) -> Standin:
    """A daemon that accepts `run s …`."""
    at.answers |= {"GET /v1/sessions/s": (200, SESSION), "POST /v1/sessions/s/runs": (202, run_view("queued"))}
    return at


@pytest.mark.found("C4")
def test_a_run_makes_its_session_where_it_is_not_there(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    at.answers |= {"POST /v1/sessions": (201, SESSION), "POST /v1/sessions/s/runs": (202, run_view("queued"))}

    assert main(["run", "s", "do it", "--workspace", "w", "--route", "local"]) == 0

    made = {"session_id": "s", "workspace": os.path.abspath("w"), "route": "local"}
    assert at.of("POST /v1/sessions")[0].json == made
    assert at.of("POST /v1/sessions/s/runs")[0].json == {"content": "do it", "route": "local"}
    assert "kheish runs follow run_1" in capsys.readouterr().out


def test_no_create_is_3_for_a_session_that_is_not_there(at: Standin) -> None:
    at.answers["POST /v1/sessions/s/runs"] = problem(404, "not_found", "There is no session s.")

    assert main(["run", "s", "do it", "--no-create"]) == 3
    assert at.of("POST /v1/sessions") == []


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1), ("interrupted", 1)])
def test_a_followed_run_ends_with_its_status(
    started: Standin, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    error = {"code": "budget_exceeded", "message": "No money.", "retryable": False} if status == "failed" else None
    started.answers["GET /v1/runs/run_1"] = 200, run_view(status, error=error)
    started.streams["/v1/runs/run_1/events"] = [
        [frame(1, "run.started"), frame(None, "model.delta", turn=1, attempt=1, offset=0, text="Do")],
        [frame(2, "model.responded", turn=1, text="Done."), frame(3, f"run.{status}")],
    ]

    assert main(["run", "s", "go", "--follow"]) == code

    out = capsys.readouterr().out
    assert "\nDone.\n" in out and f"\n{status} · 1 model call · 0 tool calls · 10 tokens" in out
    assert ("budget_exceeded: No money." in out) == (error is not None)
    assert "\x1b" not in out


def test_json_prints_the_run_once_it_is_final(started: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    started.answers["GET /v1/runs/run_1"] = 200, run_view(output="done")
    started.streams["/v1/runs/run_1/events"] = [[frame(1, "model.responded", text="done"), frame(2, "run.completed")]]

    assert main(["run", "s", "go", "--follow", "--output", "json"]) == 0

    assert json.loads(capsys.readouterr().out) == run_view(output="done")


def test_a_run_that_waits_without_a_terminal_is_5_with_the_command(
    started: Standin, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = run_view("waiting_for_approval", pending_approvals=["appr_1"])
    started.answers["GET /v1/runs/run_1"] = [(200, run_view("running")), (200, waiting)]
    started.streams["/v1/runs/run_1/events"] = [
        [frame(1, "run.waiting", status="waiting_for_approval"), frame(2, "run.requeued"), frame(3, "run.waiting")]
    ]

    assert main(["run", "s", "go", "--follow"]) == 5  # at the second wait: the first one is over by now

    err = capsys.readouterr().err
    assert "kheish approvals allow appr_1" in err and "kheish runs follow run_1" in err
    assert len(started.of("GET /v1/runs/run_1")) == 2


def test_on_a_terminal_an_approval_is_asked_in_place(started: Standin) -> None:
    waiting = run_view("waiting_for_approval", pending_approvals=["appr_1"])
    started.answers |= {
        "GET /v1/runs/run_1": [(200, waiting), (200, run_view())],
        "GET /v1/approvals/appr_1": (200, APPROVAL),
        "POST /v1/approvals/appr_1/resolve": (200, APPROVAL | {"status": "denied"}),
    }
    started.streams["/v1/runs/run_1/events"] = [[frame(1, "run.waiting"), frame(2, "run.completed")]]
    shown = typed(("run", "s", "go", "-f"), ("Allow this call?", "n\n"), ("Why not?", "too risky\n"))

    assert "command: make" in shown and "Allow this call?" in shown
    assert started.of("POST /v1/approvals/appr_1/resolve")[0].json == {"decision": "deny", "reason": "too risky"}


def pressed(child: subprocess.Popen[str]) -> str:
    """Ctrl-C, now and then once more: Python passes over what is raised while it cleans up, here after each of many
    connections. What it said."""
    for _ in range(6):
        child.send_signal(2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=5)[1]
    raise AssertionError("it goes on")


def test_ctrl_c_leaves_the_run_alone(started: Standin) -> None:
    started.streams["/v1/runs/run_1/events"] = [[frame(1, "run.started")], *([b": ping\n\n"] for _ in range(999))]
    command = [sys.executable, "-c", "import sys; from kheish.cli.main import main; sys.exit(main())"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "run", "s", "go", "-f"], **pipes) as child:
        assert child.stdout.readline().startswith("run_1 in session s")
        err = pressed(child)

    assert child.returncode == 130
    assert "the run continues" in err and "kheish runs cancel run_1" in err
