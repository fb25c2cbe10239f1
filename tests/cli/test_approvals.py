"""`kheish approvals`, `questions`, `inbox`."""

import pytest

from kheish.cli.main import main
from tests.cli.test_main import APPROVAL, PAGE
from tests.support.daemon_standin import Standin, problem

OPTIONS = [{"id": "a", "label": "Apples", "description": "red"}, {"id": "b", "label": "Bread", "description": None}]
ASKED = {"header": "Food", "options": OPTIONS, "multi_select": False, "free_text": False}
QUESTION = {
    "question_id": "qst_1", "session_id": "s", "run_id": "run_1", "status": "pending",
    "asked_at": "2026-11-22T12:00:00Z",
    "expires_at": None, "answers": None,
    "questions": [
        ASKED | {"id": "q1", "text": "Which?"},
        ASKED | {"id": "q2", "text": "Which ones?", "multi_select": True, "free_text": True},
    ],
}  # fmt: skip


def test_allow_and_deny_send_the_decision(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    at.answers["POST /v1/approvals/appr_1/resolve"] = 200, APPROVAL | {"status": "allowed"}

    assert main(["approvals", "allow", "appr_1", "--arguments", '{"command": "make -n"}']) == 0
    assert main(["approvals", "deny", "appr_1", "--reason", "no"]) == 0

    bodies = [one.json for one in at.asked if one.method == "POST"]
    assert bodies == [{"decision": "allow", "arguments": {"command": "make -n"}}, {"decision": "deny", "reason": "no"}]
    assert "appr_1 is allowed: bash: make\n" in capsys.readouterr().out


def test_a_late_answer_is_4_and_says_who_decided(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    late = problem(409, "approval_resolved", "appr_1 was allowed by token:ann.", decided_by="token:ann")
    at.answers["POST /v1/approvals/appr_1/resolve"] = late

    assert main(["approvals", "allow", "appr_1"]) == 4
    assert "token:ann" in capsys.readouterr().err


def test_an_approval_shows_the_whole_call(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = APPROVAL | {"arguments": {"command": "echo hi\nrm -rf x\x1b[1A\x1b[2K"}}
    at.answers["GET /v1/approvals/appr_1"] = 200, hidden

    assert main(["approvals", "show", "appr_1"]) == 0

    out = capsys.readouterr().out
    assert "rm -rf x␛[1A␛[2K" in out and "\x1b" not in out


@pytest.mark.parametrize("words", [["q1=a", "q2=a,b"], ["q1=1", "q2=apples,2"]])
def test_questions_are_answered_by_id_number_or_label(at: Standin, words: list[str]) -> None:
    at.answers |= {"GET /v1/questions/qst_1": (200, QUESTION), "POST /v1/questions/qst_1/answer": (200, QUESTION)}

    assert main(["questions", "answer", "qst_1", *words]) == 0

    assert at.of("POST /v1/questions/qst_1/answer")[0].json == {
        "answers": {"q1": {"selected": ["a"], "text": None}, "q2": {"selected": ["a", "b"], "text": None}}
    }


def test_own_words_go_as_text_and_nonsense_is_named(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    at.answers |= {"GET /v1/questions/qst_1": (200, QUESTION), "POST /v1/questions/qst_1/answer": (200, QUESTION)}

    assert main(["questions", "answer", "qst_1", "q1=b", "--text", "q2=cake, please"]) == 0
    answers = at.of("POST /v1/questions/qst_1/answer")[0].json["answers"]
    assert answers["q2"] == {"selected": [], "text": "cake, please"}

    assert main(["questions", "answer", "qst_1", "q1=cake"]) == 2
    assert "choose 1 (a), 2 (b)" in capsys.readouterr().err
    assert main(["questions", "answer", "qst_1"]) == 2
    assert "questions answer qst_1 q1=a q2=a" in capsys.readouterr().err


def test_the_inbox_has_both_kinds(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    at.answers |= {
        "GET /v1/approvals": (200, PAGE),
        "GET /v1/questions": (200, {"items": [QUESTION], "next_cursor": None}),
    }

    assert main(["inbox"]) == 0
    out = capsys.readouterr().out
    assert "bash: make" in out and "Which?; Which ones?" in out
    assert main(["inbox", "-q"]) == 0
    assert capsys.readouterr().out == "appr_1\nqst_1\n"


def test_an_edit_is_shown_as_a_diff(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    edit = {"path": "a.py", "old_string": "x = 1\ny = 2", "new_string": "x = 1\ny = 3"}
    at.answers["GET /v1/approvals/appr_1"] = 200, APPROVAL | {"tool": "edit_file", "arguments": edit}

    assert main(["approvals", "show", "appr_1"]) == 0

    shown = capsys.readouterr().out
    assert "    x = 1\n" in shown.replace("     x", "    x") and "-y = 2\n" in shown and "+y = 3\n" in shown
    assert "old_string" not in shown
