"""A state root that was moved back: reads work, nothing else does, until somebody decides."""

from __future__ import annotations

import pytest

from tests.api.harness import Upkeep, World


@pytest.mark.parametrize("way", ["put-back", "accept-rewind"])
async def test_reads_work_and_the_rest_is_refused_until_it_is_decided(w: World, way: str) -> None:
    await w.session()
    assert isinstance(w.parts.upkeep, Upkeep)
    w.parts.upkeep.why = "The branch is at an old commit."

    refused = await w.http.post("/v1/sessions/s/runs", json={"content": "x"})
    changed = await w.http.put("/v1/routes/r", json={"driver": "scripted"})
    read = await w.http.get("/v1/sessions/s")

    assert (refused.status_code, refused.json()["code"]) == (409, "state_rewound")
    assert (changed.status_code, read.status_code) == (409, 200)
    decided = await w.http.post(f"/v1/state/{way}")
    assert decided.status_code == 200, decided.text
    assert decided.json()["choice"] == {"put-back": "put_back", "accept-rewind": "accept"}[way]
    assert (await w.http.post("/v1/sessions/s/runs", json={"content": "x"})).status_code == 202
    assert (await w.http.post("/v1/state/gc")).json()["swept"] == 0
    assert (await w.http.post("/v1/state/reindex")).json() == {"reindexed": True}
