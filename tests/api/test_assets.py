"""Assets by HTTP: token filters, references, and evidence, without a daemon."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Any

import pytest

from kheish.api.http import media
from kheish.domain import references
from kheish.domain.references import Place
from kheish.errors import EvidenceUnresolved
from kheish.runtime.assets import types
from tests.api.harness import World
from tests.api.test_tokens import make


async def store(w: World, content: str, **more: Any) -> dict[str, Any]:
    body = {"name": "a.txt", "content_base64": base64.b64encode(content.encode()).decode()}
    answer = await w.http.post("/v1/assets", json=body, **more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def attach(w: World, session_id: str, asset_id: str, **more: Any) -> int:
    await w.session(session_id)
    items = [{"type": "text", "text": "look"}, {"type": "asset", "asset_id": asset_id}]
    return (await w.http.post(f"/v1/sessions/{session_id}/runs", json={"items": items}, **more)).status_code


async def test_a_token_for_some_sessions_sees_what_they_use_and_what_it_stored(w: World) -> None:
    headers = await make(w, "limited", role="operator", sessions=["team-*"])
    mine = await store(w, "mine", headers=headers)
    used, foreign = await store(w, "used"), await store(w, "foreign")
    assert await attach(w, "team-a", used["asset_id"]) == 202
    assert await attach(w, "other", foreign["asset_id"]) == 202
    assert await attach(w, "other-b", used["asset_id"]) == 202
    w.http.headers.pop("authorization", None)
    for asset, status in ((mine, 200), (used, 200), (foreign, 404)):
        for rest in ("", "/raw", "/references"):
            answer = await w.http.get(f"/v1/assets/{asset['asset_id']}{rest}", headers=headers)
            assert answer.status_code == status, (asset, rest)
    shown = (await w.http.get(f"/v1/assets/{used['asset_id']}", headers=headers)).json()["references"]
    assert [one["session_id"] for one in shown] == ["team-a"], "uses in other sessions are hidden"
    for session_id, status in (("team-a", 200), ("other", 403)):
        listed = await w.http.get(f"/v1/assets?session={session_id}", headers=headers)
        assert listed.status_code == status
    assert (await w.http.get("/v1/assets", headers=headers)).status_code == 403
    assert (await w.http.post("/v1/assets/gc", json={}, headers=headers)).status_code == 403
    assert (await w.http.delete(f"/v1/assets/{foreign['asset_id']}", headers=headers)).status_code == 404
    assert (await w.http.delete(f"/v1/assets/{used['asset_id']}", headers=headers)).status_code == 409
    assert (await w.http.delete(f"/v1/assets/{mine['asset_id']}", headers=headers)).status_code == 204


async def test_an_asset_that_is_gone_cannot_be_attached(w: World) -> None:
    asset_id = (await store(w, "gone"))["asset_id"]
    assert (await w.http.delete(f"/v1/assets/{asset_id}")).status_code == 204
    assert (await w.http.get(f"/v1/assets/{asset_id}")).status_code == 404
    assert await attach(w, "s", asset_id) == 400
    assert (await store(w, "gone"))["asset_id"] == asset_id
    assert await attach(w, "t", asset_id) == 202


async def test_evidence_of_an_asset_resolves(w: World) -> None:
    asset_id = (await store(w, "evidence"))["asset_id"]
    await w.state.caught_up()
    place = Place(index=w.state.index, root=w.root)
    facts = references.resolve(place, "asset", asset_id)
    assert (facts["name"], facts["media_type"], facts["bytes"]) == ("a.txt", "text/plain", 8)
    with pytest.raises(EvidenceUnresolved):
        references.resolve(place, "asset", "sha256:" + "0" * 64)
    await w.http.delete(f"/v1/assets/{asset_id}")
    await w.state.caught_up()
    with pytest.raises(EvidenceUnresolved):
        references.resolve(place, "asset", asset_id)


async def limited(w: World, name: str, pattern: str) -> dict[str, str]:
    """The headers of an operator that sees some sessions only."""
    return await make(w, name, role="operator", sessions=[pattern])


async def test_what_a_token_may_not_see_it_cannot_attach(w: World) -> None:
    a, b = await limited(w, "a", "a-*"), await limited(w, "b", "b-*")
    asset_id = (await store(w, "secret plan", headers=a))["asset_id"]
    unknown = "sha256:" + "0" * 64
    await w.session("b-1")
    w.http.headers.pop("authorization", None)
    answers = []
    for one in (asset_id, unknown):
        items = [{"type": "text", "text": "y"}, {"type": "asset", "asset_id": one}]
        answer = await w.http.post("/v1/sessions/b-1/runs", json={"items": items}, headers=b)
        answers.append((answer.status_code, answer.json()["detail"].replace(one, "ID")))
    assert answers[0] == answers[1] and answers[0][0] == 400, answers
    assert (await w.http.get(f"/v1/assets/{asset_id}/raw", headers=b)).status_code == 404


async def test_a_refused_removal_names_only_users_that_the_token_may_see(w: World) -> None:
    a = await limited(w, "a", "a-*")
    asset_id = (await store(w, "mine", headers=a))["asset_id"]
    assert await attach(w, "b-1", asset_id) == 202
    refused = (await w.http.delete(f"/v1/assets/{asset_id}", headers=a)).json()
    assert refused["code"] == "asset_referenced" and refused["referenced_by"] == []
    assert "b-1" not in refused["detail"] and "others" in refused["detail"]
    assert await attach(w, "a-1", asset_id) == 202
    refused = (await w.http.delete(f"/v1/assets/{asset_id}", headers=a)).json()
    assert "a-1" in refused["detail"] and "and others" in refused["detail"] and "b-1" not in refused["detail"]
    assert len(refused["referenced_by"]) == 1
    assert "b-1" in (await w.http.delete(f"/v1/assets/{asset_id}")).json()["detail"], "an admin sees all"


async def test_a_token_reads_what_it_stored_under_its_own_name(w: World) -> None:
    a, b = await limited(w, "a", "a-*"), await limited(w, "b", "b-*")
    w.http.headers.pop("authorization", None)
    body = {"name": "layoffs.txt", "content_base64": base64.b64encode(b"the same").decode()}
    first = await w.http.post("/v1/assets", json=body, headers=a)
    second = await w.http.post("/v1/assets", json={**body, "name": "own.txt"}, headers=b)
    third = await w.http.post("/v1/assets", json={**body, "name": "again.txt"}, headers=b)
    assert (first.status_code, second.status_code, third.status_code) == (201, 201, 200)
    asset_id = first.json()["asset_id"]
    for answer in (second, third, await w.http.get(f"/v1/assets/{asset_id}", headers=b)):
        shown = answer.json()
        assert (shown["name"], shown["created_by"], shown["asset_id"]) == ("own.txt", "token:b", asset_id)
        assert "layoffs" not in answer.text and "token:a" not in answer.text
    assert (await w.http.get(f"/v1/assets/{asset_id}", headers=a)).json()["name"] == "layoffs.txt"
    raw = await w.http.get(f"/v1/assets/{asset_id}/raw", headers=b)
    assert raw.content == b"the same" and "own.txt" in raw.headers["content-disposition"]
    for headers in (a, b):
        assert (await w.http.delete(f"/v1/assets/{asset_id}", headers=headers)).status_code == 409
    await w.state.caught_up()
    assert w.state.index.thing("asset", asset_id)["holders"][0]["name"] == "own.txt"


async def test_a_slow_body_holds_no_room(w: World) -> None:
    asset_id = (await store(w, "content"))["asset_id"]
    held = asyncio.Event()

    reading, all_read = [], asyncio.Event()

    async def slow() -> Any:
        yield b'{"name":'
        reading.append(1)  # the first part was taken
        if len(reading) == 6:
            all_read.set()
        await held.wait()
        yield b'"slow.txt","content_base64":"eA=="}'

    headers = {"content-type": "application/json"}
    tasks = [asyncio.create_task(w.http.post("/v1/assets", content=slow(), headers=headers)) for _ in range(6)]
    try:
        async with asyncio.timeout(10):
            await all_read.wait()
            assert (await w.http.get(f"/v1/assets/{asset_id}/raw")).content == b"content"
            await store(w, "another")
    finally:
        held.set()
        answers = await asyncio.gather(*tasks)
    assert {one.status_code for one in answers} == {200, 201}


def form(*, filename: bytes, content: bytes = b"hi") -> dict[str, Any]:
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="' + filename + b'"\r\n\r\n'
    return {
        "content": head + content + b"\r\n--XX--\r\n",
        "headers": {"content-type": "multipart/form-data; boundary=XX"},
    }


async def test_a_form_with_odd_names(w: World) -> None:
    refused = await w.http.post("/v1/assets", **form(filename=b"caf\xe9.txt"))
    assert refused.status_code == 400 and "UTF-8" in refused.json()["detail"]
    assert (await w.http.post("/v1/assets", **form(filename="café.txt".encode()))).json()["name"] == "café.txt"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (".env", ".env"),
        ("a/.env", ".env"),
        (r"caf\xe9.txt", r"caf\xe9.txt"),
        (r"C:\docs\a.txt", "a.txt"),
        ("a/b/", "b"),
    ],
)
def test_names_stay_readable(given: str, name: str) -> None:
    assert types.clean_name(given) == name


async def test_the_documented_limit_is_reachable_and_named(w: World) -> None:
    most = w.state.definitions.config.assets.max
    raw = os.urandom(most)
    assert (await w.http.post("/v1/assets", **form(filename=b"a", content=raw))).status_code == 201
    body = {"name": "a", "content_base64": base64.encodebytes(raw).decode()}
    assert (await w.http.post("/v1/assets", json=body)).status_code == 200
    body["content_base64"] = base64.b64encode(raw + b"x").decode()
    for sent in (form(filename=b"a", content=raw + b"x"), {"json": body}, {"json": {**body, "name": "x" * most}}):
        answer = await w.http.post("/v1/assets", **sent)
        assert answer.status_code == 413 and "assets.max" in answer.json()["detail"], answer.text
    assert media.most_bytes(b"POST", b"/v1/assets") > most * 3 // 2
    assert media.most_bytes(b"POST", b"/v1/assets/gc") == media.BODY_BYTES == media.most_bytes(b"PUT", b"/v1/assets")
