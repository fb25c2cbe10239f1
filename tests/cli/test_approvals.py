"""`kheish approvals`, `questions`, `inbox`."""

from typing import Any

import click
import pytest

from kheish.cli import asking
from kheish.cli.main import main
from kheish.errors import Invalid
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


@pytest.mark.found("C9")
def test_an_edit_is_shown_as_a_diff(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    edit = {"path": "a.py", "old_string": "x = 1\ny = 2", "new_string": "x = 1\ny = 3"}
    at.answers["GET /v1/approvals/appr_1"] = 200, APPROVAL | {"tool": "edit_file", "arguments": edit}

    assert main(["approvals", "show", "appr_1"]) == 0

    shown = capsys.readouterr().out
    assert "    x = 1\n" in shown.replace("     x", "    x") and "-y = 2\n" in shown and "+y = 3\n" in shown
    assert "old_string" not in shown


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("2", {"selected": ["b"], "text": None}),
        ("a, bread", {"selected": ["a", "b"], "text": None}),
        ("=9", {"selected": [], "text": "9"}),
        ("=1", {"selected": [], "text": "1"}),
        ("=l", {"selected": [], "text": "l"}),
        ("==9", {"selected": [], "text": "=9"}),
        ("=SUM(A1)", {"selected": [], "text": "=SUM(A1)"}),
        ("9 apples", {"selected": [], "text": "9 apples"}),
        ("1, but not now", {"selected": [], "text": "1, but not now"}),
    ],
)
def test_what_is_typed_at_a_question(said: str, answer: dict[str, object]) -> None:
    asked: Any = QUESTION["questions"][1]  # type: ignore[index]
    assert asking.choose(asked, said) == answer


@pytest.mark.parametrize("said", ["9", " 0", "-1", "1,9"])
def test_a_number_that_is_no_option_is_no_answer(said: str) -> None:
    asked: Any = QUESTION["questions"][1]  # type: ignore[index]
    with pytest.raises(Invalid, match=f"choose 1 .a., 2 .b.; to send it as text, write ={said.strip()}"):
        asking.choose(asked, said)
    assert asking.choose(asked | {"options": []}, said) == {"selected": [], "text": said}  # there is nothing to number


def test_a_command_sends_a_number_as_text_only_when_asked_to(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    at.answers |= {"GET /v1/questions/qst_1": (200, QUESTION), "POST /v1/questions/qst_1/answer": (200, QUESTION)}

    assert main(["questions", "answer", "qst_1", "q1=a", "q2=9"]) == 2
    assert "write --text q2=9" in capsys.readouterr().err and not at.of("POST /v1/questions/qst_1/answer")
    assert main(["questions", "answer", "qst_1", "q1=a", "--text", "q2=9"]) == 0
    assert at.of("POST /v1/questions/qst_1/answer")[0].json["answers"]["q2"] == {"selected": [], "text": "9"}


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answers for the prompts of plain lines; those that are left were not read."""
    left: list[str] = []
    monkeypatch.setattr(asking, "can_ask", lambda: True)
    monkeypatch.setattr(asking, "can_draw", lambda: False)
    monkeypatch.setattr(asking, "fresh_prompt", lambda text, **options: (click.echo(text), left.pop(0))[1])
    return left


def test_l_leaves_a_question_for_later_and_a_wrong_number_is_asked_again(
    at: Standin, typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    at.answers |= {
        "GET /v1/approvals": (200, {"items": [], "next_cursor": None}),
        "GET /v1/questions": (200, {"items": [QUESTION], "next_cursor": None}),
        "GET /v1/questions/qst_1": (200, QUESTION),
        "POST /v1/questions/qst_1/answer": (200, QUESTION),
    }
    typed += ["1", "l"]
    assert main(["inbox"]) == 0
    assert "Answer (number; [l]ater)" in capsys.readouterr().out
    typed += ["L"]
    assert main(["questions", "answer", "qst_1"]) == 0
    assert "is pending" in capsys.readouterr().out and not at.of("POST /v1/questions/qst_1/answer")

    typed += ["7", "1", "9", "=9"]
    assert main(["questions", "answer", "qst_1"]) == 0
    answers = at.of("POST /v1/questions/qst_1/answer")[0].json["answers"]
    assert answers == {"q1": {"selected": ["a"], "text": None}, "q2": {"selected": [], "text": "9"}} and not typed


def test_plain_lines_offer_the_rules_that_they_print(
    at: Standin, typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rule = {"tool": "bash", "decision": "allow", "match": None, "exact": "sha", "reason": "this very call: {}"}
    asked = APPROVAL | {"remember": {"exact": rule, "pattern": None}}
    at.answers |= {
        "GET /v1/approvals": (200, {"items": [asked], "next_cursor": None}),
        "GET /v1/questions": (200, {"items": [], "next_cursor": None}),
        "POST /v1/approvals/appr_1/resolve": (200, asked),
    }
    typed += ["a"]
    assert main(["inbox"]) == 0

    out = capsys.readouterr().out
    assert "--remember" not in out and "a  always this: allow bash with exactly these arguments" in out
    assert "[l]ater, [a] always" in out
    assert at.of("POST /v1/approvals/appr_1/resolve")[0].json == {"decision": "allow", "remember": "exact"}


def test_the_folder_of_a_replay_is_relative_to_this_one(at: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(at.root)
    at.answers |= {
        "GET /v1/sessions/s": (200, {"session_id": "s", "workspace": "/elsewhere"}),
        "POST /v1/sessions": (201, {"session_id": "again"}),
        "GET /v1/runs": (200, {"items": [], "next_cursor": None}),
    }

    assert main(["replay", "s", "--route", "replay", "--workspace", "copy"]) != 0  # it has no run
    assert at.of("POST /v1/sessions")[0].json["workspace"] == str(at.root.resolve() / "copy")
