"""Tokens by HTTP: made, used, limited, revoked."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from kheish.domain.sessions.session import Session
from tests.api.harness import World, approval, eventually


async def make(w: World, name: str = "bob", **more: Any) -> dict[str, str]:
    """The headers of a new token."""
    answer = await w.http.post("/v1/tokens", json={"name": name, "role": "operator", **more})
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


async def test_a_token_is_shown_once_and_changes_carry_its_name(w: World) -> None:
    headers = await make(w, person="Bob")
    listed = (await w.http.get("/v1/tokens")).json()["items"]

    made = await w.http.post("/v1/sessions", json={"session_id": "s"}, headers=headers)

    assert made.status_code == 201
    assert [(one["name"], one["role"], one["person"]) for one in listed] == [("bob", "operator", "Bob")]
    assert "token" not in listed[0]
    assert (await w.http.get("/v1/sessions/s/journal")).json()["items"][0]["actor"] == "token:bob"


async def test_roles_are_held_at_every_door(w: World) -> None:
    headers = await make(w, "r", role="reader")

    assert (await w.http.get("/v1/runs", headers=headers)).status_code == 200
    refused = await w.http.post("/v1/sessions", json={}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await w.http.put("/v1/routes/x", json={}, headers=headers)).status_code == 403


async def test_a_revoked_token_counts_no_more(w: World) -> None:
    headers = await make(w)

    assert (await w.http.delete("/v1/tokens/bob")).status_code == 204
    assert (await w.http.get("/v1/status", headers=headers)).status_code == 401
    assert (await w.http.delete("/v1/tokens/bob")).status_code == 404
    assert (await w.http.delete("/v1/tokens/local")).status_code == 409


async def test_names_and_roles_that_cannot_be_are_refused(w: World) -> None:
    await make(w)
    for body, status in (
        ({"name": "bob", "role": "reader"}, 409),
        ({"name": "local", "role": "reader"}, 409),
        ({"name": "x", "role": "root"}, 400),
        ({"name": "x", "role": "ingress:"}, 400),
        ({"name": "Bob B", "role": "reader"}, 400),
        ({"name": "x", "role": "admin", "sessions": ["s"]}, 400),
        ({"name": "x", "role": "reader", "expires": "soon"}, 400),
    ):
        assert (await w.http.post("/v1/tokens", json=body)).status_code == status, body


async def test_a_token_for_some_sessions_sees_no_others(w: World) -> None:
    await w.session("team-a")
    await w.session("other")
    mine = await w.waiting(approval("appr_1"), session_id="team-a")
    theirs = await w.waiting(approval("appr_2"), session_id="other")
    headers = await make(w, sessions=["team-*"])

    async def status(method: str, path: str, **more: Any) -> int:
        answer: httpx.Response = await w.http.request(method, path, headers=headers, **more)
        return answer.status_code

    assert await status("GET", "/v1/sessions/team-a") == 200
    assert await status("GET", f"/v1/runs/{mine['run_id']}") == 200
    assert await status("GET", "/v1/runs?session=team-a") == 200
    assert await status("POST", "/v1/sessions/team-a/runs", json={"content": "x"}) == 202
    assert await status("GET", "/v1/sessions/other") == 403
    assert await status("GET", f"/v1/runs/{theirs['run_id']}") == 404
    assert await status("POST", "/v1/approvals/appr_2/resolve", json={"decision": "allow"}) == 404
    for path in ("/v1/runs", "/v1/runs?session=other", "/v1/events", "/v1/status", "/v1/usage"):
        assert await status("GET", path) == 403, path
    assert await status("POST", "/v1/runs/cancel", json={"all": True}) == 403
    assert await status("POST", "/v1/sessions", json={"session_id": "others-next"}) == 403
    assert await status("POST", "/v1/sessions", json={}) == 403
    assert await status("POST", "/v1/sessions", json={"session_id": "other"}) == 403
    assert await status("POST", "/v1/sessions", json={"session_id": "team-b", "workspace": "/tmp"}) == 403
    assert await status("POST", "/v1/sessions", json={"session_id": "team-b"}) == 201
    assert await status("POST", "/v1/sessions/team-a/fork", json={"session_id": "others-next"}) == 403
    assert await status("POST", "/v1/sessions/team-a/fork", json={}) == 403
    assert await status("GET", "/v1/sessions/others-next") == 403
    assert (await w.http.get("/v1/sessions/others-next")).status_code == 404
    assert await status("POST", "/v1/sessions/team-a/fork", json={"session_id": "team-fork"}) == 201


async def test_a_list_of_sessions_has_those_that_the_token_sees(w: World) -> None:
    for number in range(6):
        id = f"{'team' if number % 2 else 'other'}-{number}"
        await w.session(id)
        await w.http.post(f"/v1/sessions/{id}/runs", json={"content": "find the needle", "route": "local"})
    headers = await make(w, sessions=["team-*"])

    async def listed(query: str) -> list[str]:
        found, cursor = list[str](), ""
        while cursor is not None:
            more = f"&cursor={cursor}" if cursor else ""
            page = (await w.http.get(f"/v1/sessions?{query}{more}", headers=headers)).json()
            found += [one["session_id"] for one in page["items"]]
            cursor = page["next_cursor"]
        return found

    assert await listed("limit=2") == ["team-5", "team-3", "team-1"]
    assert await listed("session=other-0") == await listed("id_prefix=other-") == []
    assert await listed("id_prefix=team-3") == await listed("session=team-3") == ["team-3"]
    assert await listed("q=needle") == ["team-5", "team-3", "team-1"]
    assert await listed("q=needle&id_prefix=team-3") == ["team-3"] and await listed("q=needle&project=none") == []
    none = await make(w, "elsewhere", projects=["nothing"])
    assert (await w.http.get("/v1/sessions", headers=none)).json()["items"] == []


async def test_who_is_revoked_while_it_waits_is_told_nothing(w: World) -> None:
    await w.session("s")
    run = (await w.http.post("/v1/sessions/s/runs", json={"content": "x", "route": "local"})).json()["run_id"]
    headers = await make(w, "bob")
    waiting = [asyncio.create_task(w.http.get(f"/v1/runs/{run}?wait=10s", headers=headers))]
    posted = {"content": "y", "route": "local"}
    waiting.append(asyncio.create_task(w.http.post("/v1/sessions/s/runs?wait=10s", json=posted, headers=headers)))
    await eventually(lambda: len(w.state.get(Session, "s").queued) == 2)
    assert (await w.http.delete("/v1/tokens/bob")).status_code < 300
    await w.http.post("/v1/runs/cancel", json={"all": True})
    for answer in await asyncio.gather(*waiting):
        assert answer.status_code == 401 and run not in answer.text


async def test_a_limited_token_chooses_no_worker_nor_do_its_agents(w: World) -> None:
    headers = {**await make(w, "some", sessions=["a-*"]), "content-type": "application/json"}
    yaml = {"content-type": "application/yaml"}
    await w.http.put("/v1/workers/big", content=b"carrier: ssh\naddress: big\n", headers=yaml)
    await w.http.put("/v1/personas/far", content=b"---\nworker: big\n---\nBuild.\n", headers=yaml)

    async def post(path: str, **body: object) -> httpx.Response:
        return await w.http.post(path, json=body, headers=headers)

    refused = await post("/v1/sessions", session_id="a-1", worker="big")
    assert refused.status_code == 403 and "cannot choose a worker" in refused.json()["detail"]
    assert (await post("/v1/sessions", session_id="a-1", persona="far")).json()["worker"] == "big"
    assert "keeps_worker" not in (await post("/v1/sessions", session_id="a-2")).json()
    own, others = w.state.get(Session, "a-2").agent_id, (await w.session("a-3"))["agent_id"]
    assert (await post(f"/v1/agents/{own}/sidechains", name="x", prompt="y", worker="big")).status_code == 403
    spawned = {"name": "x", "prompt": "y", "worker": "big"}  # as by a tool: not limited itself
    refused = await w.http.post(f"/v1/agents/{own}/sidechains", json=spawned)
    assert refused.json()["errors"][0]["path"] == "/worker" and refused.status_code == 403
    assert (await w.http.post(f"/v1/agents/{others}/sidechains", json=spawned)).status_code == 202
