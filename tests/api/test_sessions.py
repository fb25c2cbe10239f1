"""Sessions by HTTP."""

from __future__ import annotations

from pathlib import Path

from kheish.api.http.answer import model_of
from kheish.domain import events
from kheish.domain.sessions.session import SessionView
from tests.api.harness import World


async def test_create_then_get_the_same_session(w: World) -> None:
    made = await w.http.post("/v1/sessions", json={"session_id": "fix-it", "labels": {"team": "a"}})
    again = await w.http.post("/v1/sessions", json={"session_id": "fix-it", "labels": {"team": "a"}})

    assert made.status_code == 201
    assert made.headers["location"] == "/v1/sessions/fix-it"
    assert int(made.headers["x-kheish-event"]) == made.json()["last_n"]
    assert again.status_code == 200
    assert again.json() == made.json()
    assert model_of(SessionView).model_validate(made.json()).status == "idle"
    assert (await w.http.get("/v1/sessions/fix-it")).json() == made.json()


async def test_a_session_without_a_name_is_found_again_by_its_key(w: World) -> None:
    key = {"idempotency-key": "k"}

    made = await w.http.post("/v1/sessions", json={}, headers=key)
    again = await w.http.post("/v1/sessions", json={}, headers=key)
    other = await w.http.post("/v1/sessions", json={})

    assert (made.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert again.json()["session_id"] == made.json()["session_id"] != other.json()["session_id"]


async def test_other_settings_are_a_conflict_that_names_them(w: World) -> None:
    await w.session("s", title="one")

    answer = await w.http.post("/v1/sessions", json={"session_id": "s", "title": "two", "labels": {}})

    assert answer.status_code == 409
    problem = answer.json()
    assert problem["code"] == "session_conflict"
    assert [fault["path"] for fault in problem["errors"]] == ["/title"]


async def test_settings_that_cannot_be_used_are_refused(w: World) -> None:
    outside, inside = str(w.root / "nowhere"), str(w.root)
    for body, code, path in (
        ({"session_id": "../x"}, "invalid_request", None),
        ({"titel": "x"}, "invalid_request", "/titel"),
        ({"workspace": outside}, "workspace_not_allowed", None),
        ({"workspace": inside}, "workspace_not_allowed", None),
        ({"route": "nope"}, "invalid_request", "/route"),
        ({"persona": "nobody"}, "invalid_request", "/persona"),
        ({"output_contract": {"type": 3}}, "invalid_request", "/output_contract/type"),
        ({"reply_targets": [{"connector": "slack"}]}, "invalid_request", "/reply_targets/0"),
        ({"permission_mode": "bypas"}, "invalid_request", "/permission_mode"),
    ):
        answer = await w.http.post("/v1/sessions", json=body)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (400, code), body
        if path:
            assert path in [fault["path"] for fault in problem["errors"]], problem
    assert (await w.http.get("/v1/sessions")).json()["items"] == []


async def test_an_unknown_field_is_named_with_the_nearest_known(w: World) -> None:
    problem = (await w.http.post("/v1/sessions", json={"labls": {}})).json()

    assert problem["errors"] == [{"path": "/labls", "message": "unknown key 'labls'; did you mean 'labels'?"}]
    assert "labels" in problem["detail"]


async def test_bypass_needs_a_daemon_that_allows_it(w: World) -> None:
    answer = await w.http.post("/v1/sessions", json={"permission_mode": "bypass"})

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_persona_is_bound_as_a_snapshot_and_compared_by_id(w: World) -> None:
    body = b"---\ndisplay_name: Tester\n---\nTest everything.\n"
    await w.http.put("/v1/personas/tester", content=body, headers={"content-type": "application/yaml"})
    made = await w.session("s", persona="tester")

    again = await w.http.post("/v1/sessions", json={"session_id": "s", "persona": "tester"})

    assert made["persona"]["body"] == "Test everything."
    assert (again.status_code, again.json()["persona"]) == (200, made["persona"])


async def test_patch_changes_what_comes_after_and_null_resets(w: World, tmp_path: Path) -> None:
    await w.session("s", title="old", labels={"a": "b"})

    changed = await w.http.patch("/v1/sessions/s", json={"title": "new", "labels": None})
    same = await w.http.patch("/v1/sessions/s", json={"title": "new"})

    assert (changed.json()["title"], changed.json()["labels"]) == ("new", {})
    assert "x-kheish-event" in changed.headers
    assert "x-kheish-event" not in same.headers


async def test_identity_changes_need_an_idle_session(w: World, tmp_path: Path) -> None:
    await w.session()
    run = await w.run()
    other = tmp_path / "other"
    other.mkdir()

    answer = await w.http.patch("/v1/sessions/s", json={"workspace": str(other)})

    assert (answer.status_code, answer.json()["code"]) == (409, "session_not_idle")
    assert answer.json()["run_id"] == run["run_id"]


async def test_end_refuses_while_busy_and_stops_work_with_force(w: World) -> None:
    await w.session()
    running, queued = await w.run(), await w.run()
    w.move(running["run_id"], events.RunStarted())

    refused = await w.http.post("/v1/sessions/s/end")
    ended = await w.http.post("/v1/sessions/s/end", json={"force": True})
    late = await w.http.post("/v1/sessions/s/runs", json={"content": "more"})

    assert (refused.status_code, refused.json()["code"]) == (409, "session_not_idle")
    assert ended.json()["status"] == "ended"
    assert (await w.http.get(f"/v1/runs/{queued['run_id']}")).json()["status"] == "cancelled"
    assert (late.status_code, late.json()["code"]) == (409, "session_ended")


async def test_interrupt_asks_the_active_run_to_stop(w: World) -> None:
    await w.session()
    run = await w.run()
    w.move(run["run_id"], events.RunStarted())

    answer = await w.http.post("/v1/sessions/s/interrupt", json={"reason": "enough"})

    assert answer.json()["active_run_id"] == run["run_id"]
    lines = (await w.http.get("/v1/sessions/s/journal")).json()["items"]
    assert (lines[-1]["kind"], lines[-1]["data"]) == ("run.interrupt_requested", {"reason": "enough"})


async def test_the_journal_is_paged_oldest_first_and_verbatim(w: World) -> None:
    await w.session()
    for number in range(3):
        await w.run(content=f"task {number}")

    first = (await w.http.get("/v1/sessions/s/journal?limit=2")).json()
    second = (await w.http.get("/v1/sessions/s/journal", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    lines = first["items"] + second["items"]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert [line["kind"] for line in lines] == ["session.created", *["run.submitted"] * 3]
    assert second["next_cursor"] is None
    wrong = await w.http.get("/v1/sessions/s/journal?cursor=bm9wZQ")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_cursor")


async def test_lists_are_newest_first_and_show_what_was_just_made(w: World) -> None:
    w.log.lag = True
    await w.session("a")
    await w.session("b")
    listing = w.http.get("/v1/sessions?limit=1")
    w.log.lag = False
    w.log.catch_up()

    first = (await listing).json()
    rest = (await w.http.get("/v1/sessions", params={"cursor": first["next_cursor"]})).json()

    assert [one["session_id"] for one in first["items"]] == ["b"]
    assert [one["session_id"] for one in rest["items"]] == ["a"]
    assert (await w.http.get("/v1/sessions?status=busy")).json()["items"] == []


async def test_unknown_session_is_404_everywhere(w: World) -> None:
    for method, path in (
        ("GET", ""), ("PATCH", ""), ("POST", "/end"), ("POST", "/interrupt"), ("GET", "/journal"), ("GET", "/events"),
    ):  # fmt: skip
        answer = await w.http.request(method, f"/v1/sessions/nope{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    answer = await w.http.post("/v1/sessions/nope/runs", json={"content": "x"})
    assert answer.status_code == 404
