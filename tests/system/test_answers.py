"""Approvals and questions, answered in every way that there is."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon, ask, until


def waits(daemon: Daemon, session: str, route: str = "asks") -> tuple[str, str]:
    """A run that waits for an approval: (run, approval)."""
    daemon.client.sessions.create(session, route=route)
    run = daemon.client.runs.start(session, "go", wait="20s")
    assert run.status == "waiting_for_approval", run.data
    return run.run_id, run.data["pending_approvals"][0]


@pytest.mark.demand(3)
@pytest.mark.parametrize("way", ["cli", "http", "file"])
def test_an_approval_is_answered_by_cli_http_and_file(shared: Daemon, way: str) -> None:
    run_id, approval_id = waits(shared, f"answered-by-{way}")
    pending = shared.root / "pending" / "approvals" / f"{approval_id}.yaml"
    until(pending.exists, what="the pending file")

    match way:
        case "cli":
            assert shared.cli("approvals", "allow", approval_id).returncode == 0
        case "http":
            assert shared.http("POST", f"/v1/approvals/{approval_id}/resolve", {"decision": "allow"}).is_success
        case _:
            pending.write_text(pending.read_text().replace("\ndecision:\n", "\ndecision: allow\n"))

    assert shared.run(run_id)["output"].startswith("it said ")
    late = shared.http("POST", f"/v1/approvals/{approval_id}/resolve", {"decision": "deny"})
    assert (late.status_code, late.json()["code"]) == (409, "approval_resolved")
    assert late.json()["decided_by"] == ("file" if way == "file" else "token:local")
    via = shared.client.approvals.get(approval_id)["decisions"][0]["via"]
    assert via == ("file" if way == "file" else "api")
    until(lambda: not pending.exists(), what="the pending file is gone")


def test_an_editor_that_replaces_the_file_answers_too(shared: Daemon) -> None:
    run_id, approval_id = waits(shared, "editor")
    pending = shared.root / "pending" / "approvals" / f"{approval_id}.yaml"
    until(pending.exists, what="the pending file")

    swap = pending.with_name(f".{approval_id}.swp")
    swap.write_text(pending.read_text().replace("decision:\nreason:", "decision: deny\nreason: not today"))
    swap.replace(pending)

    assert "not today" in shared.run(run_id)["output"]


def test_nonsense_in_the_file_is_a_problem_and_decides_nothing(shared: Daemon) -> None:
    run_id, approval_id = waits(shared, "nonsense")
    pending = shared.root / "pending" / "approvals" / f"{approval_id}.yaml"
    until(pending.exists, what="the pending file")

    pending.write_text(pending.read_text().replace("\ndecision:\n", "\ndecision: perhaps\n"))
    relative = str(pending.relative_to(shared.root))
    found = until(
        lambda: [one for one in shared.client.problems()["items"] if one["path"] == relative], what="the problem"
    )

    assert found[0]["line"] is not None
    assert shared.client.runs.get(run_id).status == "waiting_for_approval"
    pending.write_text(pending.read_text().replace("perhaps", "allow"))
    assert shared.run(run_id)["status"] == "completed"
    until(lambda: not [one for one in shared.client.problems()["items"] if one["path"] == relative], what="it is gone")


@pytest.mark.demand(18)
@pytest.mark.parametrize("way", ["cli", "http", "file"])
def test_a_question_is_answered_by_cli_http_and_file(shared: Daemon, way: str) -> None:
    script = {"turns": [ask("Which colour?", ("red", "blue")), {"text": "{{last_result}}"}]}
    shared.client.definitions("routes").put("colour", {"driver": "scripted", "script": script})
    shared.client.sessions.create(f"question-{way}", route="colour")
    run = shared.client.runs.start(f"question-{way}", "go", wait="20s")
    question_id = run.data["pending_questions"][0]
    pending = shared.root / "pending" / "questions" / f"{question_id}.yaml"
    until(pending.exists, what="the pending file")

    match way:
        case "cli":
            done = shared.cli("questions", "answer", question_id, "q1=b")
            assert done.returncode == 0, done.stderr
        case "http":
            shared.client.questions.answer(question_id, {"q1": {"selected": ["b"], "text": None}})
        case _:
            pending.write_text(pending.read_text().replace("  q1: ", "  q1: b ", 1))

    assert "blue" in shared.run(run.run_id)["output"]


def test_a_wrong_answer_is_named_and_the_question_stays(shared: Daemon) -> None:
    script = {"turns": [ask("Which colour?", ("red", "blue")), {"text": "{{last_result}}"}]}
    shared.client.definitions("routes").put("hue", {"driver": "scripted", "script": script})
    shared.client.sessions.create("hue", route="hue")
    question_id = shared.client.runs.start("hue", "go", wait="20s").data["pending_questions"][0]

    for answers in ({"q1": {"selected": ["z"], "text": None}}, {}, {"q1": {"selected": ["a", "b"], "text": None}}):
        refused = shared.http("POST", f"/v1/questions/{question_id}/answer", {"answers": answers})
        assert refused.status_code == 400
        assert any("q1" in one["path"] for one in refused.json()["errors"]), refused.json()

    assert shared.client.questions.get(question_id)["status"] == "pending"
