"""Writes that only create (`If-None-Match: *`), at every PUT of the API, and memory of owners that do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.daemon import Daemon, scripted

CREATE = {"if-none-match": "*"}
#: each PUT that creates: its path, and two bodies
PUTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "routes": ("/v1/routes/made", scripted([{"text": "a"}]), scripted([{"text": "b"}])),
    "personas": ("/v1/personas/made", {"body": "Be brief."}, {"body": "Be long."}),
    "skills": ("/v1/skills/made", {"description": "a", "body": "Do."}, {"description": "b", "body": "Do."}),
    "schedules": (
        "/v1/schedules/made",
        {"every": "1d", "paused": True, "start": {"session": "made", "input": {"content": "a"}}},
        {"every": "2d", "paused": True, "start": {"session": "made", "input": {"content": "a"}}},
    ),
    "channels": ("/v1/channels/made", {"title": "A"}, {"title": "B"}),
    "projects": ("/v1/projects/made", {"title": "A"}, {"title": "B"}),
    "mcp": ("/v1/mcp/made", {"url": "https://a.example/mcp"}, {"url": "https://b.example/mcp"}),
    "memory": ("/v1/memory/shared/-/made.md", {"content": "a\n"}, {"content": "b\n"}),
    "goal": ("/v1/sessions/made/goal", {"objective": "a"}, {"objective": "b"}),
    "secrets": ("/v1/secrets/made", {"value": "sk-made-0001"}, {"value": "sk-made-0002"}),
}


@pytest.mark.parametrize("kind", PUTS)
def test_a_put_that_only_creates_replaces_nothing(shared: Daemon, kind: str) -> None:
    if kind == "goal":
        shared.client.sessions.create("made", route="asks")
    path, first, second = PUTS[kind]
    assert shared.http("PUT", path, first, headers=CREATE).status_code == 201
    before = shared.http("GET", path).json()
    refused = shared.http("PUT", path, second, headers=CREATE)
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert "exists already" in refused.json()["detail"]
    now = shared.http("GET", path).json()
    assert {**now, "usage": 0, "n": 0} == {**before, "usage": 0, "n": 0} or kind == "goal"
    assert kind != "goal" or now["objective"] == "a"
    for odd in ({"if-none-match": '"abc"'}, {**CREATE, "if-match": "*"}):
        assert shared.http("PUT", path, second, headers=odd).status_code == 400
    assert shared.http("PUT", path, second, headers={"if-match": "*"}).status_code == 200
    shared.http("DELETE", path)


def test_the_client_creates_only(shared: Daemon) -> None:
    assert shared.client.definitions("personas").put("once", {"body": "a"}, if_none_match="*")["id"] == "once"
    with pytest.raises(Exception, match="exists already"):
        shared.client.definitions("personas").put("once", {"body": "b"}, if_none_match="*")
    shared.client.definitions("personas").delete("once")


@pytest.mark.parametrize("owner", ["session/nobody", "persona/nobody", "project/nobody"])
def test_memory_of_an_owner_that_does_not_exist_is_refused(shared: Daemon, owner: str) -> None:
    answer = shared.http("PUT", f"/v1/memory/{owner}/a.md", {"content": "x\n"})
    assert answer.status_code == 404 and "nobody" in answer.json()["detail"]
    assert shared.http("GET", f"/v1/memory/{owner}/a.md").status_code == 404
