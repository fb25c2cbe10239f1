"""The branch was moved back while no daemon ran; and the commands about a state root as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import checker
from tests.support.daemon import Daemon, git, until
from tests.system.conftest import Fresh

#: a daemon that is stopped, and the ids of its runs
Stopped = tuple[Daemon, list[str]]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Make three sessions with a run each, each in a commit of its own."""
    folder, ids = tmp_path_factory.mktemp("history"), []
    with Daemon.fresh(folder, routes={"hello": [{"text": "hello {{input}}"}]}) as daemon:
        for name in ("one", "two", "three"):
            daemon.client.sessions.create(name)
            ids.append(daemon.client.runs.start(name, "hello", wait="20s").run_id)
            daemon.quiet()
        daemon.stop()
    return daemon, ids


@pytest.fixture
def stopped(history: Stopped, tmp_path: Path) -> Iterator[Stopped]:
    """A copy of the history, moved to a folder of this test's own."""
    shutil.copytree(history[0].root.parent, tmp_path / "copy", symlinks=True)
    daemon = Daemon(tmp_path / "copy" / "state", tmp_path / "copy" / "work")
    yield daemon, history[1]
    daemon.end()


def moved_back(stopped: Stopped) -> tuple[Daemon, list[str], str]:
    daemon, ids = stopped
    before = git(daemon.root, "rev-parse", "HEAD").strip()
    old = git(daemon.root, "log", "--format=%H", "--grep=run completed: one", "-1").strip()
    git(daemon.root, "reset", "-q", "--hard", old)
    return daemon.start(), ids, before


def test_nothing_acts_until_somebody_decides_and_put_back_brings_all_back(stopped: Stopped) -> None:
    daemon, ids, before = moved_back(stopped)

    refused = daemon.http("POST", "/v1/sessions/one/runs", {"content": "more"})
    assert (refused.status_code, refused.json()["code"]) == (409, "state_rewound")
    assert "kheish state put-back" in refused.json()["detail"]
    assert daemon.http("GET", f"/v1/runs/{ids[2]}").json()["status"] == "completed"
    assert "Nothing acts until you decide" in daemon.cli("problems").stdout
    assert daemon.http("GET", "/v1/status").json()["status"] == "rewound"
    assert daemon.http("GET", "/readyz").status_code == 503
    assert git(daemon.root, "status", "--porcelain") == ""

    done = daemon.cli("state", "put-back")

    assert done.returncode == 0, done.stderr
    assert daemon.http("GET", "/readyz").status_code == 200, "what is typed next finds it serving"
    assert git(daemon.root, "diff", "--stat", before, "HEAD", "--", "sessions") == ""
    assert daemon.client.runs.start("three", "again", wait="20s").data["status"] == "completed"
    daemon.quiet()
    assert checker.check(daemon.root) == []
    assert daemon.cli("state", "verify").returncode == 0


def test_accepted_it_goes_on_from_there_with_numbers_never_used_before(stopped: Stopped) -> None:
    daemon, ids, before = moved_back(stopped)
    newest = max(json.loads(line)["n"] for line in git(daemon.root, "grep", "-h", "-e", '"n":', before).splitlines()
                 if line.startswith('{"v"'))  # fmt: skip

    done = daemon.cli("state", "accept-rewind", "--output", "json")

    assert done.returncode == 0, done.stderr
    assert git(daemon.root, "rev-parse", json.loads(done.stdout)["kept"]).strip() == before
    until(lambda: daemon.http("GET", "/readyz").status_code == 200, what="it serves")
    assert daemon.http("GET", f"/v1/runs/{ids[0]}").json()["status"] == "completed"
    assert daemon.http("GET", f"/v1/runs/{ids[2]}").status_code == 404
    run = daemon.client.runs.start("one", "again", wait="20s")
    assert run.data["status"] == "completed"
    assert run.data["n"] > newest
    daemon.quiet()
    assert checker.check(daemon.root) == []
    daemon.restart()
    assert daemon.client.runs.start("one", "and again", wait="20s").data["status"] == "completed"


def test_stopped_while_it_waits_for_a_decision_it_asks_again(stopped: Stopped) -> None:
    daemon, _, _ = moved_back(stopped)
    note = daemon.root / ".git" / "kheish" / "n"
    before = note.read_text()

    assert daemon.stop() == 0
    daemon.start()

    assert note.read_text() == before
    assert daemon.http("POST", "/v1/sessions", {"session_id": "x"}).json()["code"] == "state_rewound"
    assert daemon.cli("state", "gc").returncode == 4


def test_what_a_commit_on_top_dropped_is_put_back_at_the_next_start(stopped: Stopped) -> None:
    daemon, _ = stopped
    git(daemon.root, "rm", "-rq", "sessions")
    git(daemon.root, "commit", "-q", "-m", "away with it")

    daemon.start()

    until(lambda: len(list(daemon.root.glob("sessions/*/*/session.yaml"))) == 3, what="they are back")
    daemon.quiet()
    assert checker.check(daemon.root) == []


def test_verify_finds_what_was_broken_and_gc_and_reindex_mend(stopped: Stopped) -> None:
    daemon, ids = stopped

    assert daemon.cli("state", "gc").returncode == 0
    assert git(daemon.root, "count-objects").startswith("0 objects")
    for path in (daemon.root / ".kheish").glob("index.sqlite*"):
        path.write_bytes(b"no database" * 100)
    assert "index_damaged" in daemon.cli("state", "verify").stdout
    assert daemon.cli("state", "reindex").returncode == 0
    daemon.start()
    assert daemon.cli("state", "reindex").returncode == 0
    assert daemon.cli("state", "gc").returncode == 0
    assert daemon.http("GET", f"/v1/runs/{ids[1]}").json()["status"] == "completed"
    daemon.stop()

    journal = next(daemon.root.glob("sessions/*/two/journal/000001.jsonl"))
    journal.write_text(journal.read_text().replace('"seq":2,', '"seq":7,', 1))
    said = daemon.cli("state", "verify")
    assert said.returncode == 1
    assert "damaged_journal" in said.stdout


@pytest.mark.parametrize("what", ["index.lock", "detached"])
def test_started_while_another_git_is_at_work_it_serves_and_catches_up(fresh: Fresh, what: str) -> None:
    daemon = fresh(routes={"hello": [{"text": "hello {{input}}"}]})
    daemon.client.sessions.create("one")
    lock: Path = daemon.root / ".git" / "index.lock"
    daemon.quiet()
    if what == "detached":
        git(daemon.root, "switch", "-q", "--detach", "HEAD~1")
    else:
        lock.touch()
    done = daemon.client.runs.start("one", "hello", wait="20s").run_id
    daemon.restart()

    assert daemon.client.runs.get(done).data["status"] == "completed"
    assert daemon.client.runs.start("one", "again", wait="20s").data["status"] == "completed"
    until(lambda: daemon.client.status()["git"]["held"], what="it holds")

    if what == "detached":
        git(daemon.root, "switch", "-q", "-f", "main")
    else:
        lock.unlink()
    daemon.quiet()
    assert checker.check(daemon.root, {"runs": [{"id": done, "session": "one", "n": 1}]}) == []
