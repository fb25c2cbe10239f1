"""Runs by HTTP."""

from __future__ import annotations

import asyncio

from kheish.api.http.answer import model_of
from kheish.domain import events
from kheish.domain.runs import RunView
from kheish.domain.sessions.session import Session
from tests.api.harness import World, eventually


async def test_a_submission_is_accepted_with_its_place_and_its_event(w: World) -> None:
    await w.session()

    first = await w.http.post("/v1/sessions/s/runs", json={"content": "one", "metadata": {"a": 1}})
    second = await w.http.post("/v1/sessions/s/runs", json={"items": [{"type": "text", "text": "two"}], "actor": "ann"})

    run = model_of(RunView).model_validate(first.json())
    assert first.status_code == 202
    assert (run.status, run.queue_position, run.request.metadata) == ("queued", 1, {"a": 1})
    assert (run.request.actor, run.request.source, run.route) == ("token:local", "api", "local")
    assert first.headers["location"] == f"/v1/runs/{run.run_id}"
    assert int(first.headers["x-kheish-event"]) == run.n
    assert second.json()["queue_position"] == 2
    assert second.json()["request"]["actor"] == "ann"
    assert (await w.http.get(first.headers["location"])).json() == first.json()
    listed = (await w.http.get("/v1/runs?session=s")).json()["items"]
    assert [one["queue_position"] for one in listed] == [2, 1]


async def test_bad_submissions_accept_nothing(w: World) -> None:
    await w.session()
    for body, path in (
        ({}, ""),
        ({"content": "a", "items": []}, ""),
        ({"items": []}, "/items"),
        ({"content": 5}, "/content"),
        ({"contend": "a"}, "/contend"),
        ({"items": [{"type": "image", "text": "a"}]}, "/items/0/type"),
        ({"items": [{"type": "text", "txt": "a"}]}, "/items/0/txt"),
        ({"items": [{"type": "asset", "asset_id": "none"}]}, "/items/0/asset_id"),
        ({"content": "a", "budget": {"tokens": -1}}, "/budget/tokens"),
        ({"content": "a", "route": "nope"}, "/route"),
        ({"content": "a", "reply_targets": [{}]}, "/reply_targets/0"),
        ({"content": "a", "metadata": {"big": "x" * 20_000}}, "/metadata"),
    ):
        answer = await w.http.post("/v1/sessions/s/runs", json=body)
        assert answer.status_code == 400, body
        assert path in [fault["path"] for fault in answer.json()["errors"]], answer.json()
    assert (await w.http.get("/v1/runs")).json()["items"] == []


async def test_an_idempotency_key_gives_the_same_run(w: World) -> None:
    await w.session()
    key = {"idempotency-key": "k1"}

    first = await w.http.post("/v1/sessions/s/runs", json={"content": "one"}, headers=key)
    again = await w.http.post("/v1/sessions/s/runs", json={"content": "one", "idempotency_key": "k1"})
    other = await w.http.post("/v1/sessions/s/runs", json={"content": "two"}, headers=key)
    both = await w.http.post("/v1/sessions/s/runs", json={"content": "a", "idempotency_key": "k2"}, headers=key)

    assert again.status_code == 202
    assert again.json()["run_id"] == first.json()["run_id"]
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert (both.status_code, both.json()["code"]) == (400, "idempotency_key_mismatch")
    assert len((await w.http.get("/v1/runs")).json()["items"]) == 1


async def test_wait_answers_when_the_run_has_ended(w: World) -> None:
    await w.session()
    waiting = asyncio.create_task(w.http.post("/v1/sessions/s/runs?wait=30s", json={"content": "x"}))
    await eventually(lambda: w.state.get(Session, "s").queued)
    run_id = w.state.get(Session, "s").queued[0]

    w.move(run_id, events.RunStarted())
    w.move(run_id, events.RunCompleted(output="done"))

    answer = await asyncio.wait_for(waiting, 5)
    assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (202, "completed", "done")


async def test_wait_ends_with_its_time_and_at_shutdown(w: World) -> None:
    await w.session()
    short = await w.http.post("/v1/sessions/s/runs?wait=20ms", json={"content": "x"})
    long = asyncio.create_task(w.http.get(f"/v1/runs/{short.json()['run_id']}?wait=60s"))
    await eventually(lambda: w.parts.closing._callbacks)  # it waits

    w.parts.closing.begin()

    assert short.json()["status"] == "queued"
    assert (await asyncio.wait_for(long, 5)).json()["status"] == "queued"


async def test_cancel_is_final_and_repeatable(w: World) -> None:
    await w.session()
    run = await w.run()
    path = f"/v1/runs/{run['run_id']}"

    first = await w.http.post(f"{path}/cancel", json={"reason": "no"})
    again = await w.http.post(f"{path}/cancel")

    assert (first.json()["status"], again.json()["status"]) == ("cancelled", "cancelled")
    assert "x-kheish-event" in first.headers
    assert "x-kheish-event" not in again.headers
    done = await w.run()
    w.move(done["run_id"], events.RunStarted())
    w.move(done["run_id"], events.RunCompleted(output="x"))
    late = await w.http.post(f"/v1/runs/{done['run_id']}/cancel")
    assert (late.status_code, late.json()["code"]) == (409, "run_state_conflict")
    assert late.json()["from_status"] == "completed"


async def test_cancel_by_filter_stops_only_what_fits(w: World) -> None:
    await w.session("a")
    await w.session("b")
    mine = [await w.run("a"), await w.run("a")]
    other = await w.run("b")

    nothing = await w.http.post("/v1/runs/cancel", json={})
    answer = await w.http.post("/v1/runs/cancel", json={"session": "a"})

    assert nothing.status_code == 400
    assert {one["run_id"] for one in answer.json()["items"]} == {one["run_id"] for one in mine}
    assert {one["status"] for one in answer.json()["items"]} == {"cancelled"}
    assert (await w.http.get(f"/v1/runs/{other['run_id']}")).json()["status"] == "queued"


async def test_retry_makes_a_new_run_of_an_ended_one(w: World) -> None:
    await w.session()
    run = await w.run(content="x" * 20_000, metadata={"a": 1})
    early = await w.http.post(f"/v1/runs/{run['run_id']}/retry")
    await w.http.post(f"/v1/runs/{run['run_id']}/cancel")

    answer = await w.http.post(f"/v1/runs/{run['run_id']}/retry", headers={"idempotency-key": "r"})
    again = await w.http.post(f"/v1/runs/{run['run_id']}/retry", headers={"idempotency-key": "r"})

    assert (early.status_code, early.json()["code"]) == (409, "run_state_conflict")
    new = answer.json()
    assert (answer.status_code, new["retry_of"], new["status"]) == (202, run["run_id"], "queued")
    assert new["request"]["items"][0]["text"] == "x" * 20_000
    assert again.json()["run_id"] == new["run_id"]


async def test_large_payloads_are_shown_whole(w: World) -> None:
    await w.session()
    text, looks = "ä" * 20_000, {"sha256": "0" * 64, "bytes": 1, "preview": ""}
    run = await w.run(content=text, metadata={"note": looks})
    w.move(run["run_id"], events.RunStarted())
    w.move(run["run_id"], events.OutputEmitted(output_id="o1", output_kind="text", content=text + "1"))
    w.move(run["run_id"], events.RunCompleted(output=text + "2"))

    one = (await w.http.get(f"/v1/runs/{run['run_id']}")).json()
    many = (await w.http.get("/v1/runs")).json()["items"]

    assert one["request"]["items"][0]["text"] == text
    assert one["request"]["metadata"] == {"note": looks}
    assert (one["outputs"][0]["content"], one["output"]) == (text + "1", text + "2")
    assert many == [one]


async def test_a_run_that_left_memory_is_found(w: World) -> None:
    await w.session()
    run = await w.run()
    await w.http.post(f"/v1/runs/{run['run_id']}/cancel")
    await w.state.caught_up()
    w.state.sessions["s"].used = 0
    w.state.evict(0)
    assert "s" not in w.state.sessions

    shown = await w.http.get(f"/v1/runs/{run['run_id']}")
    again = await w.http.post(f"/v1/runs/{run['run_id']}/cancel")

    assert (shown.json()["status"], again.json()["status"]) == ("cancelled", "cancelled")
    assert (await w.http.get("/v1/runs/run_none")).status_code == 404


async def test_filters_are_checked(w: World) -> None:
    for query, told in (("status=runing", "running"), ("stats=queued", "status"), ("limit=0", "1 to 200"),
                        ("limit=201", "200"), ("session=a&session_id=b", "differ")):  # fmt: skip
        answer = await w.http.get(f"/v1/runs?{query}")
        assert answer.status_code == 400, query
        assert told in answer.json()["detail"], answer.json()
    wrong = await w.http.get("/v1/runs?cursor=nonsense!")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_cursor")
