"""Questions: answered all at once or declined; each mistake is named."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import events, questions
from kheish.domain.events import Option, QuestionItem
from kheish.domain.questions import Question
from kheish.domain.runs import Status
from kheish.errors import Invalid, NotFound, QuestionResolved
from tests.support.stateful import Played, question

OPTIONS = (Option(id="a", label="Apples"), Option(id="b", label="Bread"))
ITEMS = (
    QuestionItem(id="q1", header="Food", text="Which?", options=OPTIONS),
    QuestionItem(id="q2", header="More", text="Which?", options=OPTIONS, multi_select=True, free_text=True),
)
GOOD: dict[str, Any] = {"q1": {"selected": ["a"], "text": None}, "q2": {"selected": ["a", "b"], "text": "please"}}


def test_answers_put_the_run_back_in_its_queue_and_are_told_in_words(p: Played) -> None:
    run = p.waiting(question("q", *ITEMS))
    found = questions.answer(p.state, "q", GOOD, by="ann", via="api")
    assert (found.status, found.answers, found.answered_by) == ("answered", GOOD, "ann")
    assert p.run(run.run_id).status is Status.QUEUED
    event = events.QuestionAnswered(question_id="q", outcome="answered", answers=found.answers)
    assert questions.told(event, found) == ("Food: Apples\nMore: Apples, Bread (please)", False)


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"q1": {"selected": ["c"]}}, [("/answers/q1", "'c' is not one of a, b")]),
        ({"q1": None}, [("/answers/q1", "has no answer")]),
        ({"q1": {"selected": ["a", "b"]}}, [("/answers/q1", "takes one option, not several")]),
        ({"q1": {"selected": []}}, [("/answers/q1", "is empty")]),
        ({"q1": {"selected": ["a"], "text": "hm"}}, [("/answers/q1", "takes no free text; choose an option")]),
        ({"q2": {"selected": ["a", "a"]}}, [("/answers/q2", "names an option twice")]),
        ({"q9": {"selected": ["a"]}}, [("/answers/q9", "no such question")]),
        ({"q1": {"selected": ["c"]}, "q2": None}, [("/answers/q1", "'c' is not one of a, b"),
                                                   ("/answers/q2", "has no answer")]),
    ],
)  # fmt: skip
def test_each_wrong_answer_is_named(p: Played, change: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    p.waiting(question("q", *ITEMS))
    given = {id: value for id, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(Invalid) as refused:
        questions.answer(p.state, "q", given, by="ann", via="api")
    assert [(fault.path, fault.message) for fault in refused.value.errors] == faults
    assert p.state.get(Question, "q").status == "pending"


def test_free_text_alone_is_an_answer_where_it_is_allowed(p: Played) -> None:
    p.waiting(question("q", ITEMS[1]))
    found = questions.answer(p.state, "q", {"q2": {"text": "neither"}}, by="ann", via="api")
    assert found.answers == {"q2": {"selected": [], "text": "neither"}}


def test_a_declined_question_is_told_with_its_reason(p: Played) -> None:
    run = p.waiting(question("q"))
    found = questions.decline(p.state, "q", by="ann", via="file", reason="ask Bob")
    assert (found.status, found.reason) == ("declined", "ask Bob")
    assert p.run(run.run_id).status is Status.QUEUED
    event = events.QuestionAnswered(question_id="q", outcome="declined", reason="ask Bob")
    assert questions.told(event, found) == ("The question was declined; there is no answer. Reason: ask Bob", True)


def test_a_late_answer_hears_who_answered(p: Played) -> None:
    p.waiting(question("q"))
    questions.decline(p.state, "q", by="ann", via="api", reason=None)
    for late in (
        lambda: questions.answer(p.state, "q", {}, by="bob", via="api"),
        lambda: questions.decline(p.state, "q", by="bob", via="api", reason=None),
    ):
        with pytest.raises(QuestionResolved) as refused:
            late()
        assert refused.value.extra == {"decided_by": "ann"}
    with pytest.raises(NotFound):
        questions.decline(p.state, "nope", by="bob", via="api", reason=None)


def test_an_expired_question_lets_the_run_go_on(p: Played) -> None:
    run = p.waiting(question("q", expires_at="2026-01-01T00:00:00.000000Z"))
    assert questions.expire(p.state, "2025-01-01T00:00:00.000000Z") == []
    assert questions.expire(p.state, "2026-01-01T00:00:01.000000Z") == ["q"]
    assert p.run(run.run_id).status is Status.QUEUED
