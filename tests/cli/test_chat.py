"""`kheish chat`: a run for each line, what is asked is asked in place, and an empty line leaves."""

import os
import pty
import subprocess
import sys

import pytest

from kheish.cli.main import main
from tests.cli.test_main import APPROVAL
from tests.cli.test_run import read_all
from tests.support.daemon_standin import Standin, frame, problem, run_view

SESSION = {"session_id": "s", "status": "idle", "active_run_id": None}


def typed(words: str) -> str:
    """What a terminal shows where somebody types this into `kheish chat s`."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "import sys; from kheish.cli.main import main; sys.exit(main())", "chat", "s"]
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, words.encode())
    shown = read_all(ours)
    assert child.wait(10) == 0, shown
    return shown


def test_each_line_is_a_run_of_one_session(at: Standin) -> None:
    at.answers |= {"GET /v1/sessions/s": (200, SESSION), "POST /v1/sessions/s/runs": (202, run_view("queued"))}
    at.answers["GET /v1/runs/run_1"] = 200, run_view(output="hello")
    at.streams["/v1/runs/run_1/events"] = [[frame(1, "run.completed")], [frame(2, "run.completed")]]

    shown = typed("hi\nand bye\n\n")

    assert [one.json["content"] for one in at.of("POST /v1/sessions/s/runs")] == ["hi", "and bye"]
    assert shown.count("completed") == 2 and "kheish chat s" in shown


def test_a_call_that_another_person_has_to_allow_leaves_the_run_and_goes_on(at: Standin) -> None:
    at.answers |= {"GET /v1/sessions/s": (200, {**SESSION, "active_run_id": "run_1"})}
    waiting = run_view("waiting_for_approval", pending_approvals=["appr_1"])
    at.answers |= {"GET /v1/runs/run_1": (200, waiting), "GET /v1/approvals/appr_1": (200, APPROVAL)}
    refused = problem(403, "person_required", "It takes two persons.")
    at.answers["POST /v1/approvals/appr_1/resolve"] = refused
    at.streams["/v1/runs/run_1/events"] = [[frame(1, "run.waiting", status="waiting_for_approval")]]

    shown = typed("y\n\n")

    assert "It takes two persons." in shown and "the run goes on" in shown


def test_without_a_terminal_it_says_what_to_use(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "s"]) == 2
    assert "kheish run SESSION TEXT --follow" in capsys.readouterr().err and at.asked == []
