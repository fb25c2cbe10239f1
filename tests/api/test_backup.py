"""The backup by HTTP: push now, take over, and what is refused."""

from __future__ import annotations

from kheish.errors import BackupDiverged, BackupFailed
from tests.api.harness import World


async def test_a_push_answers_how_the_backup_is(w: World) -> None:
    answer = await w.http.post("/v1/state/backup")
    assert (answer.status_code, answer.json()["outcome"], w.backup.did) == (200, "pushed", ["push"])


async def test_a_failure_is_a_problem_document_with_its_code(w: World) -> None:
    w.backup.refuses = BackupFailed("The remote is not there.")
    failed = await w.http.post("/v1/state/backup")
    w.backup.refuses = BackupDiverged("The remote has more.")
    diverged = await w.http.post("/v1/state/backup")
    assert (failed.status_code, failed.json()["code"]) == (503, "backup_failed")
    assert (diverged.status_code, diverged.json()["detail"]) == (409, "The remote has more.")


async def test_nothing_goes_on_where_a_takeover_fails(w: World) -> None:
    await w.http.post("/v1/pause")
    w.backup.refuses = BackupFailed("The remote is not there.")
    assert (await w.http.post("/v1/resume", json={"takeover": True})).status_code == 503
    assert w.state.paused == {None}
    w.backup.refuses = None
    assert (await w.http.post("/v1/resume", json={"takeover": True})).json()["everything"] is False
    assert w.backup.did == ["take_over"] and not w.state.paused


async def test_a_takeover_is_of_everything(w: World) -> None:
    answer = await w.http.post("/v1/resume", json={"takeover": True, "route": "local"})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "/route")
    assert w.backup.did == []
