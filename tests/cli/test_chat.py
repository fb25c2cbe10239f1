"""`kheish chat`: a run for each line, what is asked is asked in place, and an empty line leaves."""

import pytest

from kheish.cli.main import main
from tests.cli.terminal import typed
from tests.cli.test_main import APPROVAL
from tests.support.daemon_standin import Standin, frame, problem, run_view

CHAT = ("chat", "s")
SESSION = {"session_id": "s", "status": "idle", "active_run_id": None}


def test_each_line_is_a_run_of_one_session(at: Standin) -> None:
    at.answers |= {"GET /v1/sessions/s": (200, SESSION), "POST /v1/sessions/s/runs": (202, run_view("queued"))}
    at.answers["GET /v1/runs/run_1"] = 200, run_view(output="hello")
    at.streams["/v1/runs/run_1/events"] = [[frame(1, "run.completed")], [frame(2, "run.completed")]]

    shown = typed(CHAT, ("empty line exits", "hi\n"), ("completed", "and bye\n"), ("completed", "\n"))

    assert [one.json["content"] for one in at.of("POST /v1/sessions/s/runs")] == ["hi", "and bye"]
    assert shown.count("completed") == 2 and "kheish chat s" in shown


def test_a_call_that_another_person_has_to_allow_leaves_the_run_and_goes_on(at: Standin) -> None:
    at.answers |= {"GET /v1/sessions/s": (200, {**SESSION, "active_run_id": "run_1"})}
    waiting = run_view("waiting_for_approval", pending_approvals=["appr_1"])
    at.answers |= {"GET /v1/runs/run_1": (200, waiting), "GET /v1/approvals/appr_1": (200, APPROVAL)}
    refused = problem(403, "person_required", "It takes two persons.")
    at.answers["POST /v1/approvals/appr_1/resolve"] = refused
    at.streams["/v1/runs/run_1/events"] = [[frame(1, "run.waiting", status="waiting_for_approval")]]

    shown = typed(CHAT, ("Allow this call?", "y\n"), ("continues", "\n"))

    assert "It takes two persons." in shown and "the run continues" in shown


def test_what_was_typed_ahead_or_pasted_answers_no_approval(at: Standin) -> None:
    at.answers |= {"GET /v1/sessions/s": (200, {**SESSION, "active_run_id": "run_1"})}
    waiting = run_view("waiting_for_approval", pending_approvals=["appr_1"])
    at.answers |= {"GET /v1/runs/run_1": (200, waiting), "GET /v1/approvals/appr_1": (200, APPROVAL)}
    at.streams["/v1/runs/run_1/events"] = [[frame(1, "run.waiting", status="waiting_for_approval")]]
    at.answers["POST /v1/runs/run_1/steer"] = 202, {"message_id": "msg_1", "session_id": "s", "run_id": None}

    shown = typed(
        CHAT,
        ("empty line exits", "y\n"),
        ("Allow this call?", "y\ny\n"),
        ("Allow this call?", "l\n"),
        ("continues", "\n"),
    )

    assert "several lines arrived at once" in shown and not at.of("POST /v1/approvals/appr_1/resolve")


@pytest.mark.found("C4")
def test_a_message_that_is_refused_stands_at_the_prompt_again(at: Standin) -> None:
    at.answers |= {"GET /v1/sessions/s": (200, SESSION), "GET /v1/runs/run_1": (200, run_view(output="hello"))}
    at.answers["POST /v1/sessions/s/runs"] = [problem(400, "route_required"), (202, run_view("queued"))]
    at.streams["/v1/runs/run_1/events"] = [[frame(1, "run.completed")]]

    typed(CHAT, ("empty line exits", "my long message\n"), ("0m my long message", " again\n"), ("completed", "\n"))

    sent = [one.json["content"] for one in at.of("POST /v1/sessions/s/runs")]
    assert sent == ["my long message", "my long message again"]


def test_without_a_terminal_it_says_what_to_use(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "s"]) == 2
    assert "kheish run SESSION TEXT --follow" in capsys.readouterr().err and at.asked == []
