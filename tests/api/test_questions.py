"""Questions by HTTP."""

from __future__ import annotations

from kheish.api.http.answer import model_of
from kheish.domain.questions import QuestionView
from tests.api.harness import World, question


async def test_an_answer_is_kept_and_the_run_goes_on(w: World) -> None:
    await w.session()
    run = await w.waiting(question("q_1"))

    answer = await w.http.post("/v1/questions/q_1/answer", json={"answers": {"q1": {"selected": ["a"], "text": None}}})
    late = await w.http.post("/v1/questions/q_1/decline", json={})

    shown = model_of(QuestionView).model_validate(answer.json())
    assert (shown.status, shown.answers) == ("answered", {"q1": {"selected": ["a"], "text": None}})
    assert "x-kheish-event" in answer.headers
    assert (await w.http.get(f"/v1/runs/{run['run_id']}")).json()["status"] == "queued"
    assert (late.status_code, late.json()["code"], late.json()["decided_by"]) == (
        409, "question_resolved", "token:local",
    )  # fmt: skip
    assert (await w.http.get("/v1/questions?status=answered")).json()["items"] == [answer.json()]


async def test_each_wrong_answer_is_named(w: World) -> None:
    await w.session()
    await w.waiting(question("q_1"))
    for given, path in (
        ({}, "/answers/q1"),
        ({"q1": {"selected": ["c"]}}, "/answers/q1"),
        ({"q1": {"selected": ["a", "b"]}}, "/answers/q1"),
        ({"q1": {"selected": ["a"]}, "q2": {"selected": ["a"]}}, "/answers/q2"),
        ({"q1": {"selectd": ["a"]}}, "/answers/q1/selectd"),
    ):
        answer = await w.http.post("/v1/questions/q_1/answer", json={"answers": given})
        assert answer.status_code == 400
        assert path in [fault["path"] for fault in answer.json()["errors"]], answer.json()
    assert (await w.http.get("/v1/questions/q_1")).json()["status"] == "pending"


async def test_decline_with_a_reason_and_a_key(w: World) -> None:
    await w.session()
    await w.waiting(question("q_1"))
    key = {"idempotency-key": "k"}

    first = await w.http.post("/v1/questions/q_1/decline", json={"reason": "not now"}, headers=key)
    again = await w.http.post("/v1/questions/q_1/decline", json={"reason": "not now"}, headers=key)

    assert (first.json()["status"], first.json()["reason"]) == ("declined", "not now")
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await w.http.post("/v1/questions/q_9/decline")).status_code == 404
