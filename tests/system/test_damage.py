"""Files that were damaged, deleted or left behind: what a start, or the daemon as it serves, makes of each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, allow, bash, git, until
from tests.support.faults import Fault, Faults
from tests.system.conftest import Fresh

ROUTES = {"job": [bash("echo {{input}} >> ledger.txt"), {"text": "done"}]}


def work(daemon: Daemon, *sessions: str) -> None:
    """A finished run in each, made where it is new."""
    for session in sessions:
        if daemon.http("GET", f"/v1/sessions/{session}").status_code == 404:
            daemon.client.sessions.create(session, route="job")
        assert daemon.run(daemon.client.runs.start(session, "x").run_id)["status"] == "completed"


def problems(daemon: Daemon) -> list[str]:
    return [one["code"] for one in daemon.http("GET", "/v1/problems").json()["items"]]


def segment(daemon: Daemon, session: str) -> Path:
    return next(daemon.root.glob(f"sessions/*/{session}/journal/000001.jsonl"))


def fsck(daemon: Daemon) -> str:
    return git(daemon.root, "fsck", "--full", "--no-dangling", check=False)


def flip(path: Path, line: int) -> None:
    """Damage a line in the middle, where it stands, as a disk does: whoever reads meanwhile sees no cut file."""
    lines = path.read_bytes().splitlines(keepends=True)
    with path.open("r+b") as file:
        file.seek(sum(map(len, lines[:line])) + 20)
        file.write(b"\0\0\0")


@pytest.mark.demand(6)
@pytest.mark.parametrize("while_it_serves", [False, True])
def test_journals_that_were_damaged_or_lost_come_back_from_git_and_the_rest_goes_on(
    fresh: Fresh, while_it_serves: bool
) -> None:
    daemon = fresh(routes=ROUTES)
    work(daemon, "a", "b", "c")
    daemon.quiet()
    before = daemon.journal("a"), daemon.journal("b")
    if not while_it_serves:
        daemon.stop()
    flip(segment(daemon, "a"), 3)
    segment(daemon, "b").unlink()
    if not while_it_serves:
        daemon.start()
        until(lambda: len(list(daemon.root.glob("sessions/*/[ab]/journal/*"))) == 2, what="the first look")
        until(lambda: b"\0" not in segment(daemon, "a").read_bytes(), what="it puts them back")

    work(daemon, "a", "b", "c")
    daemon.quiet(40)

    after = daemon.journal("a"), daemon.journal("b")
    assert [entries[: len(old)] for entries, old in zip(after, before, strict=True)] == [*before]
    assert [entry["seq"] for entry in after[0]] == list(range(1, len(after[0]) + 1))
    assert any(b"\0\0\0" in path.read_bytes() for path in daemon.root.glob("conflicts/*"))


@pytest.mark.demand(6)
def test_a_journal_that_is_damaged_in_git_too_stops_its_session_alone(fresh: Fresh) -> None:
    daemon = fresh(routes=ROUTES)
    work(daemon, "a", "b")
    daemon.quiet()
    daemon.stop()
    flip(segment(daemon, "a"), 3)
    git(daemon.root, "commit", "-qam", "damaged")
    git(daemon.root, "update-ref", "refs/kheish/last", "HEAD")
    daemon.start()
    work(daemon, "b", "c")

    assert "damaged_journal" in problems(daemon)
    refused = daemon.http("POST", "/v1/sessions/a/runs", {"content": "x"})
    assert refused.status_code >= 400 and "000001.jsonl:4" in refused.json()["detail"]


@pytest.mark.demand(6)
def test_a_torn_end_of_the_log_is_cut_and_recorded_and_damage_elsewhere_is_a_problem(tmp_path: Path) -> None:
    faults = Faults(tmp_path, Fault("worker", "blob", "ENOSPC", stays=True, armed=True))  # the log keeps all
    made = {"routes": ROUTES, "permissions": allow("echo *"), "env": faults.env(tmp_path / "state")}
    with Daemon.fresh(tmp_path, **made) as daemon:
        work(daemon, "a")
        daemon.quiet()
        faults.arm()
        work(daemon, "a", "b")
        before = daemon.journal("a")
        daemon.kill9()
        daemon.end_of_life()
        log = max(path for path in daemon.root.glob(".git/kheish/wal/*.log") if path.stat().st_size)
        flip(log, 0)
        log.write_bytes(log.read_bytes() + log.read_bytes().splitlines()[-1][:40])

        daemon.start()
        faults.disarm()
        work(daemon, "a", "b")
        assert daemon.journal("a")[: len(before)] == before
        assert "damaged_journal" in problems(daemon)
        daemon.quiet()
        lines = map(json.loads, (daemon.root / "journals/daemon/000001.jsonl").read_text().splitlines())
        started = [line["data"]["repaired_bytes"] for line in lines if line["kind"] == "daemon.started"]
        assert started == [0, 40]


def test_a_damaged_object_is_found_and_written_again_from_the_files(fresh: Fresh) -> None:
    daemon = fresh(routes=ROUTES)
    work(daemon, "a")
    daemon.quiet()
    daemon.stop()
    for name in ("HEAD:sessions", "HEAD:kheish.yaml"):
        id = git(daemon.root, "rev-parse", name).strip()
        path = daemon.root / ".git" / "objects" / id[:2] / id[2:]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:9])
    said = daemon.cli("state", "verify")
    assert said.returncode != 0 and "git cannot read it" in said.stdout + said.stderr

    assert daemon.cli("state", "gc").returncode == 0
    assert daemon.cli("state", "verify").returncode == 0
    daemon.start()
    work(daemon, "a")
    daemon.quiet()

    assert fsck(daemon) == ""
    assert len(list((daemon.root / ".git" / "kheish" / "damaged").iterdir())) == 2


def garbage(folder: Path) -> None:
    for path in folder.glob("index.sqlite*"):
        with path.open("r+b") as file:  # not cut first: who has a file mapped, as SQLite has one, dies of that (SIGBUS)
            file.write(b"\xff" * 40_000)


def taken_away(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # a daemon that serves makes some of it again meanwhile


def older(folder: Path) -> None:
    with sqlite3.connect(folder / "index.sqlite") as db:
        db.execute("UPDATE meta SET value=1 WHERE key='schema'")


def deleted(folder: Path) -> None:
    for path in folder.glob("index.sqlite*"):
        path.unlink()


@pytest.mark.demand(11)
@pytest.mark.parametrize(
    "harm", [garbage, taken_away, *(pytest.param(one, marks=pytest.mark.faults) for one in (older, deleted))]
)
def test_the_index_and_all_of_its_folder_can_go_while_it_is_stopped_and_while_it_serves(
    fresh: Fresh, harm: Callable[[Path], None]
) -> None:
    daemon = fresh(routes=ROUTES)
    work(daemon, "a", "b")
    daemon.stop()
    harm(daemon.root / ".kheish")
    daemon.start()
    assert {one["session_id"] for one in daemon.http("GET", "/v1/sessions").json()["items"]} == {"a", "b"}

    if harm is not older:
        token = daemon.token
        harm(daemon.root / ".kheish")
        until(lambda: (daemon.root / ".kheish" / "token").exists() and daemon.token == token, what="the token is back")
    until(lambda: daemon.http("GET", "/readyz").status_code == 200, what="it is ready")

    def complete() -> bool:
        answer = daemon.http("GET", "/v1/runs")
        return answer.status_code == 200 and len(answer.json()["items"]) == 2

    until(complete, what="the index has all again")
    work(daemon, "a")
    daemon.quiet()  # fsck must not look while a commit is written
    assert fsck(daemon) == ""


@pytest.mark.demand(11)
def test_an_index_that_is_lost_together_with_its_scribe_is_no_half_answer(fresh: Fresh) -> None:
    """The new scribe finds no index and begins an empty one: nobody may take that for all that there is."""
    daemon = fresh(routes=ROUTES)
    work(daemon, "a", "b")
    daemon.quiet()
    scribe = daemon.child("scribe")
    assert scribe is not None
    garbage(daemon.root / ".kheish")
    os.kill(scribe, signal.SIGKILL)

    def listed() -> int:
        answer = daemon.http("GET", "/v1/runs")
        return len(answer.json()["items"]) if answer.status_code == 200 else -1

    until(lambda: daemon.child("scribe") not in (None, scribe), what="there is another scribe")
    until(lambda: listed() == 2, what="the index has all again")
    daemon.restart()
    assert listed() == 2


@pytest.mark.demand(13)
def test_a_lock_of_somebody_else_is_reported_with_the_command_and_not_removed(fresh: Fresh) -> None:
    daemon = fresh(routes=ROUTES)
    work(daemon, "a")
    daemon.quiet()
    lock = daemon.root / ".git" / "index.lock"
    lock.touch()
    work(daemon, "a")
    until(lambda: daemon.client.status()["git"]["held"], what="it holds")

    assert "rm " in daemon.client.status()["git"]["held"] and "index.lock" in daemon.client.status()["git"]["held"]
    assert lock.exists()
    lock.unlink()
    daemon.quiet()
