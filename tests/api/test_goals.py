"""The goal of a session by HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.api.http.answer import model_of
from kheish.domain.goals.goal import GoalView
from tests.api.harness import World
from tests.api.test_tokens import make

GOAL = "/v1/sessions/s/goal"


async def test_set_change_pause_resume_and_clear(w: World) -> None:
    await w.session("s")
    assert (await w.http.get(GOAL)).status_code == 404
    body = {"objective": "reach it", "completion": ["it is good", {"command": "true"}], "budget": {"wall_time": "2h"}}
    answer = await w.http.put(GOAL, json=body)
    assert answer.status_code == 201 and "x-kheish-event" in answer.headers
    shown = model_of(GoalView).model_validate(answer.json())
    assert (shown.status, shown.set_by, shown.completion) == ("active", "token:local", tuple(body["completion"]))
    assert answer.json()["budget"] == {"tokens": None, "cost_usd": None, "wall_time": 7200.0}
    same = await w.http.put(GOAL, json={"objective": "reach more"})
    assert (same.status_code, same.json()["goal_id"]) == (200, shown.goal_id)
    assert same.json()["budget"] == answer.json()["budget"], "a limit that is not given stays"
    paused = (await w.http.patch(GOAL, json={"status": "paused", "budget": {"tokens": 9, "wall_time": None}})).json()
    assert (paused["status"], paused["why"]) == ("paused", "a person paused it")
    assert paused["budget"] == {"tokens": 9, "cost_usd": None, "wall_time": None}
    for body in ({"reason": "lunch"}, {"reason": "lunch", "status": "active"}):
        refused = await w.http.patch(GOAL, json=body)
        assert refused.status_code == 400 and "status: paused" in refused.text
    assert (await w.http.patch(GOAL, json={"status": "paused"})).json() == paused, "it stays as it is"
    resumed = (await w.http.patch(GOAL, json={"status": "active", "objective": "reach all"})).json()
    assert (resumed["status"], resumed["why"], resumed["objective"]) == ("active", None, "reach all")
    assert (await w.http.get(GOAL)).json() == resumed
    gone = await w.http.delete(GOAL)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await w.http.get(GOAL)).status_code == (await w.http.delete(GOAL)).status_code == 404
    assert (await w.http.put(GOAL, json={"objective": "another"})).json()["goal_id"] != shown.goal_id


async def test_an_amount_is_added_once_per_key(w: World) -> None:
    await w.session("s")
    await w.http.put(GOAL, json={"objective": "x", "budget": {"tokens": 100}})
    body: dict[str, Any] = {"add_budget": {"tokens": 50}}
    for _ in range(2):
        added = await w.http.patch(GOAL, json=body, headers={"idempotency-key": "k"})
        assert added.json()["budget"]["tokens"] == 150
    body["add_budget"]["tokens"] = 60
    other = await w.http.patch(GOAL, json=body, headers={"idempotency-key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "/objective"),
        ({"objective": " "}, "/objective"),
        ({"objective": "x" * 4001}, "/objective"),
        ({"objective": "x", "completion": [{"workspace_file": "../x"}]}, "/completion/0/workspace_file"),
        ({"objective": "x", "completion": [{"output_matches": {"type": 3}}]}, "/completion/0/output_matches/type"),
        ({"objective": "x", "budget": {"tokens": 0}}, "/budget/tokens"),
        ({"objective": "x", "budget": {"wall_time": "soon"}}, "/budget/wall_time"),
        ({"objective": "x", "budget": {"cost_usd": 1}}, "/budget/cost_usd"),
        ({"objective": "x", "colour": "red"}, "/colour"),
    ],
)
async def test_each_mistake_is_named(w: World, body: dict[str, Any], path: str) -> None:
    await w.session("s")
    answer = await w.http.put(GOAL, json=body)
    assert answer.status_code == 400 and path in [one["path"] for one in answer.json()["errors"]], answer.text
    assert (await w.http.get(GOAL)).status_code == 404


@pytest.mark.demand(16)
async def test_operators_of_the_session_set_its_goal(w: World) -> None:
    await w.session("s")
    await w.session("other")
    headers = await make(w, "op", role="operator", sessions=["s"])
    reader = await make(w, "eye", role="reader")
    w.http.headers.pop("authorization", None)
    assert (await w.http.put(GOAL, json={"objective": "x"}, headers=headers)).status_code == 201
    assert (await w.http.get(GOAL, headers=headers)).json()["set_by"] == "token:op"
    other = await w.http.put("/v1/sessions/other/goal", json={"objective": "x"}, headers=headers)
    assert other.status_code == 403
    assert (await w.http.get(GOAL, headers=reader)).status_code == 200
    assert (await w.http.patch(GOAL, json={"status": "paused"}, headers=reader)).status_code == 403


async def test_an_ended_session_takes_no_goal(w: World) -> None:
    await w.session("s")
    await w.http.put(GOAL, json={"objective": "x"})
    await w.http.post("/v1/sessions/s/end", json={})
    assert (await w.http.get(GOAL)).json()["why"] == "session_ended"
    for method, body in (("PUT", {"objective": "y"}), ("PATCH", {"status": "active"})):
        answer = await w.http.request(method, GOAL, json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "session_ended")
