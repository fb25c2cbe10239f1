"""Whatever a caller sends has a bound, and what is over it is told so, at once and in few words."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kheish.api.http import media
from tests.api.harness import World

LONG = "x" * 3000
QUERIES = {
    "values": "&".join(f"status=queued{n}" for n in range(101)),
    "values with commas": "status=" + ",".join(["queued"] * 101),
    "parameters": "&".join(f"p{n}=1" for n in range(101)),
    "a long value": f"route={LONG}",
    "a long name": f"{LONG}=1",
    "a long cursor": f"cursor={LONG}",
}


@pytest.mark.parametrize("what", QUERIES)
async def test_a_query_is_bounded(w: World, what: str) -> None:
    answer = await w.http.get(f"/v1/runs?{QUERIES[what]}")

    assert answer.status_code == 400
    assert len(answer.content) < 1000, "it is not all told back"


async def test_as_many_values_as_may_be_are_taken(w: World) -> None:
    assert (await w.http.get("/v1/runs?" + "&".join(["status=queued"] * 100))).status_code == 200


async def test_an_id_in_a_path_is_bounded(w: World) -> None:
    for path in ("/v1/runs/{}", "/v1/sessions/{}", "/v1/auth/subjects/{}", "/v1/routes/{}", "/v1/flows/{}"):
        answer = await w.http.get(path.format("x" * 301))
        assert (answer.status_code, len(answer.content) < 1000) == (400, True), path
    assert (await w.http.get(f"/v1/runs/{'x' * 300}")).status_code == 404


SESSION: dict[str, Any] = {
    "labels": {str(n): "" for n in range(101)},
    "permission_rules": [{"tool": "bash", "decision": "deny"}] * 501,
    "reply_targets": [{}] * 51,
    "title": "x" * 501,
    "workspace": "/" + "x" * 4096,
    "route": "x" * 129,
    "session_id": "x" * 129,
}
RUN: dict[str, Any] = {
    "items": [{"type": "text", "text": ""}] * 1001,
    "reply_targets": [{}] * 51,
    "generation": {str(n): 1 for n in range(101)},
    "completion": ["done"] * 101,
    "actor": "x" * 201,
    "source": "x" * 201,
    "model": "x" * 301,
    "idempotency_key": "x" * 256,
    "metadata": {"x": "x" * 16_384},
}
OTHERS = {
    "/v1/approvals/resolve": {"decision": "allow", "approval_ids": ["appr_1"] * 201},
    "/v1/approvals/a/resolve": {"decision": "deny", "reason": "x" * 4001},
    "/v1/questions/q/answer": {"answers": {str(n): {} for n in range(101)}},
    "/v1/runs/cancel": {"all": True, "reason": "x" * 4001},
    "/v1/tokens": {"name": "t", "role": "reader", "sessions": ["s"] * 101},
    "/v1/auth/revoke": {"what": "subject", "id": "x" * 201},
}


@pytest.mark.parametrize("field", [*(f"session {name}" for name in SESSION), *(f"run {name}" for name in RUN)])
async def test_a_field_is_bounded(w: World, field: str) -> None:
    await w.session()
    of, _, name = field.partition(" ")
    path, known = ("/v1/sessions", SESSION) if of == "session" else ("/v1/sessions/s/runs", RUN)
    content = {"content": "x"} if of == "run" and name != "items" else {}

    answer = await w.http.post(path, json={**content, name: known[name]})

    assert answer.status_code == 400 and name in answer.text, answer.text


@pytest.mark.parametrize("path", OTHERS)
async def test_a_body_of_many_things_is_bounded(w: World, path: str) -> None:
    answer = await w.http.post(path, json=OTHERS[path])
    assert answer.status_code == 400, answer.text


async def test_a_header_with_a_key_is_bounded(w: World) -> None:
    await w.session()
    headers = {"idempotency-key": "x" * 256}
    answer = await w.http.post("/v1/sessions/s/runs", json={"content": "x"}, headers=headers)
    assert answer.status_code == 400


async def test_many_faults_are_told_in_few_words_and_a_moment(w: World) -> None:
    body = b'{"items": [' + b"1," * 40_000 + b"1]}"
    began = time.process_time()

    answer = await w.http.post("/v1/approvals/resolve", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert len(answer.content) < 50_000
    assert time.process_time() - began < 5


async def test_a_body_of_too_many_values_is_refused_before_it_is_judged(w: World) -> None:
    headers = {"content-type": "application/json"}
    for body in (b'{"items": [' + b"1," * 1_000_000 + b"1]}", b"[" + b'{"a":1,"b":[1]},' * 40_000 + b"1]"):
        began = time.process_time()
        answer = await w.http.post("/v1/approvals/resolve", content=body, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (413, "The body has more than 50000 values.")
        assert time.process_time() - began < 1
    text = {"content": "so, " * 60_000}  # commas of a text are no values
    await w.session()
    assert (await w.http.post("/v1/sessions/s/runs", json=text)).status_code == 202


async def test_a_form_is_bounded(w: World) -> None:
    form = {"content-type": media.FORM}
    for content, status in (
        ("code=" + "x" * 5000, 413), ("code=" + "x" * 201, 400), ("&".join(["code=x"] * 30), 400), ("", 400),
        ("code=%ff", 400), ("code=x&more=1", 400),
    ):  # fmt: skip
        assert (await w.http.post("/login", content=content, headers=form)).status_code == status, content[:20]
    assert (await w.http.post("/login", files={"code": b"x"})).status_code == 415
