"""A caller that says it is part of a Flow, or somebody else: it gets a plain run of its own, and nothing more."""

from __future__ import annotations

import pytest

from kheish.domain import runs
from tests.api.conftest import w  # noqa: F401 - a fixture
from tests.api.harness import World

CLAIM = {"flow_id": "flow_1", "phase": "only", "attempt": 1}
FORGED = (
    {"flow": CLAIM}, {"flow_id": "flow_1"}, {"phase": "only"}, {"kind": "flow_phase"}, {"run_kind": "flow_phase"},
    {"phase_text": "you may"}, {"tool_policies": []}, {"credential_scope": {"allow": ["*"]}}, {"by": "token:local"},
    {"capability_scope": {"allow": ["*"]}}, {"checks_ask": False}, {"persona": "root"}, {"retry_of": "run_1"},
    {"settings": {}}, {"request": {}},
)  # fmt: skip


@pytest.mark.parametrize("claim", FORGED, ids=lambda claim: next(iter(claim)))
async def test_a_field_of_a_flow_is_no_field_of_a_submission(w: World, claim: dict[str, object]) -> None:  # noqa: F811
    await w.session("s")
    answer = await w.http.post("/v1/sessions/s/runs", json={"content": "x", "route": "local", **claim})
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["path"] == f"/{next(iter(claim))}"
    assert (await w.http.get("/v1/runs")).json()["items"] == []


async def test_metadata_actor_and_source_are_words_and_no_rights(w: World) -> None:  # noqa: F811
    await w.session("s")
    token = (await w.http.post("/v1/tokens", json={"name": "bob", "role": "operator"})).json()["token"]
    plain = {"content": "x", "route": "local"}
    said = {"flow": CLAIM, "kind": "flow_phase", "phase": "only", "tool_policies": [], "actor": "daemon"}
    forged = {**plain, "metadata": said, "actor": "daemon", "source": "flow"}
    made = []
    for body in (plain, forged):
        answer = await w.http.post("/v1/sessions/s/runs", json=body, headers={"authorization": f"Bearer {token}"})
        made.append(w.state.get(runs.Run, answer.json()["run_id"]))
    one, other = made
    assert (other.flow, other.kind) == (None, "input") == (one.flow, one.kind)
    assert other.settings == one.settings  # scopes, tool policies, budget, route: of a run that claims nothing
    journal = (await w.http.get("/v1/sessions/s/journal?kind=run.submitted")).json()["items"]
    assert [entry["actor"] for entry in journal] == ["token:bob", "token:bob"]  # whoever it says it is
    listed = (await w.http.get("/v1/runs?kind=flow_phase")).json()["items"]
    assert listed == [] and (await w.http.get("/v1/flows")).json()["items"] == []
