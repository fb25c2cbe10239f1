"""Approvals by HTTP."""

from __future__ import annotations

from kheish.api.http.answer import model_of
from kheish.domain.approvals import ApprovalView
from tests.api.harness import World, approval


async def test_resolve_records_who_and_sends_the_run_on(w: World) -> None:
    await w.session()
    run = await w.waiting(approval("appr_1"))

    pending = (await w.http.get("/v1/approvals?status=pending&session=s")).json()["items"]
    answer = await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "allow", "reason": "fine"})

    assert [one["approval_id"] for one in pending] == ["appr_1"]
    shown = model_of(ApprovalView).model_validate(answer.json())
    assert shown.status == "allowed"
    assert [(one.by, one.via, one.reason) for one in shown.decisions] == [("token:local", "api", "fine")]
    assert "x-kheish-event" in answer.headers
    assert (await w.http.get(f"/v1/runs/{run['run_id']}")).json()["status"] == "queued"
    assert (await w.http.get("/v1/approvals/appr_1")).json() == answer.json()


async def test_a_late_answer_learns_who_decided(w: World) -> None:
    await w.session()
    await w.waiting(approval("appr_1"))
    await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "deny"})

    late = await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "allow"})

    problem = late.json()
    assert (late.status_code, problem["code"], problem["decided_by"]) == (409, "approval_resolved", "token:local")
    assert late.headers["content-type"] == "application/problem+json"


async def test_the_same_key_gets_the_same_answer(w: World) -> None:
    await w.session()
    await w.waiting(approval("appr_1"))
    key = {"idempotency-key": "k"}

    first = await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "allow"}, headers=key)
    again = await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "allow"}, headers=key)
    other = await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "deny"}, headers=key)

    assert (again.status_code, again.json()) == (200, first.json())
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_edited_arguments_have_a_digest_of_their_own(w: World) -> None:
    await w.session()
    await w.waiting(approval("appr_1"))
    edited = {"decision": "allow", "arguments": {"command": "make test"}}

    refused = await w.http.post("/v1/approvals/appr_1/resolve", json={**edited, "decision": "deny"})
    answer = (await w.http.post("/v1/approvals/appr_1/resolve", json=edited)).json()

    assert refused.status_code == 400
    assert (answer["arguments"], answer["digest"]) == ({"command": "make test"}, "d" * 64)
    assert answer["edited_by"] == "token:local"


async def test_a_batch_is_all_or_nothing(w: World) -> None:
    await w.session()
    run = await w.waiting(approval("appr_1"), approval("appr_2"), approval("appr_3"))
    await w.http.post("/v1/approvals/appr_3/resolve", json={"decision": "deny"})

    refused = await w.http.post(
        "/v1/approvals/resolve", json={"approval_ids": ["appr_1", "appr_3"], "decision": "allow"}
    )
    untouched = (await w.http.get("/v1/approvals/appr_1")).json()
    items = [{"approval_id": "appr_1", "decision": "allow"}, {"approval_id": "appr_2", "decision": "deny"}]
    done = await w.http.post("/v1/approvals/resolve", json={"items": items})

    assert (refused.status_code, refused.json()["code"], untouched["status"]) == (409, "approval_resolved", "pending")
    assert [one["status"] for one in done.json()["items"]] == ["allowed", "denied"]
    assert (await w.http.get(f"/v1/runs/{run['run_id']}")).json()["status"] == "queued"
    twice = await w.http.post("/v1/approvals/resolve", json={"approval_ids": ["a", "a"], "decision": "deny"})
    assert twice.status_code == 400


async def test_bad_words_and_unknown_approvals(w: World) -> None:
    await w.session()
    await w.waiting(approval("appr_1"))
    for body, path in (
        ({}, "/decision"),
        ({"decision": "alow"}, "/decision"),
        ({"decision": "allow", "remember": "always"}, "/remember"),
        ({"decision": "allow", "because": "x"}, "/because"),
    ):
        answer = await w.http.post("/v1/approvals/appr_1/resolve", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path)
    unknown = await w.http.post("/v1/approvals/appr_9/resolve", json={"decision": "allow"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


async def test_a_remembered_answer_leaves_a_rule_in_the_session(w: World) -> None:
    await w.session()
    rules = {"exact": {"match": "shown before"}, "pattern": None}
    await w.waiting(approval("appr_1", remember=rules), approval("appr_2"))

    shown = (await w.http.get("/v1/approvals/appr_1")).json()
    answer = await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "allow", "remember": "pattern"})
    without = await w.http.post("/v1/approvals/appr_2/resolve", json={"decision": "allow", "remember": "exact"})

    assert shown["remember"] == rules and answer.status_code == 200
    [rule] = (await w.http.get("/v1/sessions/s")).json()["permission_rules"]
    assert (rule["match"], rule["decision"]) == ("make", "allow")
    assert rule["reason"].startswith("remembered by token:local (appr_1): ")
    assert (without.status_code, without.json()["errors"][0]["path"]) == (400, "/remember")


async def test_the_local_token_proves_no_person(w: World) -> None:
    await w.session()
    await w.waiting(approval("appr_1", required=2))

    allowed = await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "allow"})
    denied = await w.http.post("/v1/approvals/appr_1/resolve", json={"decision": "deny"})

    assert (allowed.status_code, allowed.json()["code"]) == (403, "person_required")
    assert denied.json()["status"] == "denied"
