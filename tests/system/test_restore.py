"""Restore with real daemons: paused, then it goes on where the backup was; takeover; what a backup does not hold."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import BackupDiverged, Conflict, TakenOver
from tests.support.daemon import Daemon, allow, bash, git, until
from tests.system.conftest import Fresh

Restore = Callable[..., Daemon]


@pytest.fixture
def restore(tmp_path: Path) -> Iterator[Restore]:
    """`restore(daemon)`: a daemon that serves what the CLI restored from the remote, with the same workspace."""
    with contextlib.ExitStack() as stack:

        def make(old: Daemon) -> Daemon:
            folder = tmp_path / "elsewhere"
            done = old.cli("restore", f"file://{tmp_path}/remote.git", str(folder / "state"))
            assert done.returncode == 0, done.stderr
            new = Daemon(folder / "state", old.workspace)
            stack.callback(new.end)
            return new.start()

        yield make


def backed(fresh: Fresh, tmp_path: Path, **made: Any) -> Daemon:
    daemon = fresh(config={"backup": {"remote": "origin"}}, **made)
    git(tmp_path, "init", "-q", "--bare", "-b", "another", "remote.git")
    git(daemon.root, "remote", "add", "origin", f"file://{tmp_path}/remote.git")
    return daemon


def codes(daemon: Daemon) -> set[str]:
    return {one["code"] for one in daemon.client.problems()["items"]}


def submit(daemon: Daemon, session: str, route: str, content: str = "go") -> str:
    daemon.client.sessions.create(session, route=route)
    return daemon.client.runs.start(session, content).run_id


def test_an_approval_a_queue_and_a_spill_go_on_in_a_restored_root(
    fresh: Fresh, tmp_path: Path, restore: Restore
) -> None:
    routes = {"asks": [bash("id -u"), {"text": "allowed"}], "says": [{"text": "{{input}}"}]}
    old = backed(fresh, tmp_path, routes=routes)
    big = "0123456789abcdef" * 2500
    waiting = submit(old, "s", "asks")
    approval = old.run(waiting, "waiting_for_approval")["pending_approvals"][0]
    old.client.pause("says")
    queued = submit(old, "big", "says", big)
    newest = old.client.backup()["pushed"]["n"]
    old.kill9()

    new = restore(old)

    said = new.client.status()
    assert said["status"] == "paused" and said["paused"] == {"everything": True, "routes": ["says"]}
    assert said["events"]["newest"] > newest + 1_000_000 and said["backup"]["restored"]
    assert "restored" in codes(new)
    new.client.approvals.allow(approval)
    later = submit(new, "later", "says", "later")
    new.restart()
    found = [new.client.runs.get(run).data["status"] for run in (waiting, queued, later)]
    assert found == ["queued"] * 3, "work queues, and nothing acts, also after another start"
    new.client.resume()
    assert [new.run(run)["status"] for run in (waiting, queued, later)] == ["completed"] * 3
    assert new.client.runs.get(queued).data["output"] == big
    new.quiet()
    with pytest.raises(Conflict, match="takeover"):
        new.client.backup()


def test_a_call_that_was_under_way_is_a_question_in_the_restored_root(
    fresh: Fresh, tmp_path: Path, restore: Restore
) -> None:
    old = backed(fresh, tmp_path, routes={"slow": [bash("sleep 30"), {"text": "{{last_result}}"}]})
    run = submit(old, "s", "slow")
    until(lambda: "tool.started" in old.kinds("s"), what="the command runs")
    old.client.backup()
    old.end()

    new = restore(old)
    assert new.client.runs.get(run).data["status"] == "running", "nobody asks while all is paused"
    new.client.resume()
    asked = new.run(run, "waiting_for_question")["pending_questions"][0]
    new.client.questions.answer(asked, {"outcome": {"selected": ["done"], "text": "it slept"}})
    assert new.run(run)["output"] == "it slept"
    assert new.kinds("s").count("tool.started") == 1


def test_a_run_without_its_workspace_waits_and_says_so(fresh: Fresh, tmp_path: Path, restore: Restore) -> None:
    routes = {"writes": [bash("echo {{input}} > out.txt"), {"text": "done"}]}
    old = backed(fresh, tmp_path, routes=routes, permissions=allow("echo *"))
    place = tmp_path / "project"
    place.mkdir()
    old.client.pause()
    for session in ("s", "stopped"):
        old.client.sessions.create(session, route="writes", workspace=str(place))
    run, stopped = (old.client.runs.start(session, "text").run_id for session in ("s", "stopped"))
    old.client.backup()
    old.kill9()
    shutil.rmtree(place)

    new = restore(old)
    new.client.resume()
    until(lambda: len(new.client.problems()["items"]) == 3, what="both say that they wait")
    (told,) = [one for one in new.client.problems()["items"] if run in one["message"]]
    assert told["code"] == "workspace_missing" and str(place) in told["message"]
    assert new.client.runs.get(run).data["status"] == "queued"
    assert new.client.runs.cancel(stopped)["status"] == "cancelled"
    place.mkdir()
    assert new.run(run)["status"] == "completed" and (place / "out.txt").read_text() == "text\n"
    until(lambda: "workspace_missing" not in codes(new), what="the problems are over")


def test_who_takes_over_is_seen_by_the_old_daemon_which_pauses(fresh: Fresh, tmp_path: Path, restore: Restore) -> None:
    old = backed(fresh, tmp_path, routes={"hello": [{"text": "hello"}]})
    old.client.backup()
    before = old.client.status()["incarnation"]
    new = restore(old)
    done = new.cli("resume", "--takeover")
    assert done.returncode == 0, done.stderr
    said = new.client.status()
    assert said["status"] == "serving" and not said["backup"]["restored"] and said["incarnation"] != before
    assert said["incarnation"] in git(tmp_path / "remote.git", "show", "main:format.yaml")

    run = submit(old, "s", "hello")
    old.run(run)
    with pytest.raises(TakenOver, match=said["incarnation"]):
        old.client.backup()
    assert old.client.status()["status"] == "paused" and "taken_over" in codes(old)
    later = old.client.runs.start("s", "later").run_id
    assert new.client.backup()["outcome"] == "pushed"
    assert old.client.runs.get(later).data["status"] == "queued"
    assert old.restart().client.status()["status"] == "paused"


def test_a_takeover_needs_what_the_remote_has(fresh: Fresh, tmp_path: Path, restore: Restore) -> None:
    old = backed(fresh, tmp_path, routes={"hello": [{"text": "hello"}]})
    old.client.backup()
    new = restore(old)
    old.run(submit(old, "s", "hello"))
    pushed = old.client.backup()["pushed"]["commit"]
    with pytest.raises(BackupDiverged, match="fresh restore"):
        new.client.resume(takeover=True)
    assert new.client.status()["status"] == "paused"
    assert git(tmp_path / "remote.git", "rev-parse", "main").strip() == pushed


def test_a_plain_clone_starts_paused_too(fresh: Fresh, tmp_path: Path) -> None:
    old = backed(fresh, tmp_path)
    old.client.backup()
    git(tmp_path, "clone", "-q", "-b", "main", "remote.git", "clone")
    new = Daemon(tmp_path / "clone", old.workspace)
    assert new.cli("init", str(new.root)).returncode == 0
    try:
        assert new.start().client.status()["status"] == "paused"
        new.client.resume()
        new.stop()
        assert new.start().client.status()["status"] == "serving"
    finally:
        new.end()
