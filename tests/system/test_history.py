"""History for people, by a real daemon, git and CLI: as it was, forks, deletion, and what a kill leaves of them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from kheish.errors import SessionConflict, SessionDeleted
from tests.support.daemon import Daemon, bash, git, until

Fresh = Callable[..., Daemon]
ROUTES = {"talks": [bash("echo the flux capacitor"), {"text": "hello {{input}}"}]}


@pytest.mark.demand(4)
def test_the_past_by_commit_event_and_time(fresh: Fresh) -> None:
    daemon = fresh(routes=ROUTES)
    sessions = daemon.client.sessions
    sessions.create("fix-it", route="talks")
    first = daemon.client.runs.start("fix-it", "one", wait="20s")
    daemon.quiet()
    commit = git(daemon.root, "rev-parse", "HEAD").strip()
    then = sessions.get("fix-it")
    second = daemon.client.runs.start("fix-it", "two", wait="20s")
    daemon.quiet()

    for rev in (commit, commit[:10], f"n:{then['last_n']}", str(then["last_n"])):
        assert sessions.get("fix-it", at=rev) == then
    assert daemon.client.runs.get(first.run_id, at=commit).data == first.refresh().data
    assert daemon.http("GET", f"/v1/runs/{second.run_id}?at={commit}").status_code == 404
    stamp = git(daemon.root, "log", "-1", "--format=%cI", commit).strip()
    assert sessions.get("fix-it", at=f"@{{{stamp}}}")["last_n"] >= then["last_n"]
    messages = [one["message"] for one in sessions.history("fix-it")["items"]]
    assert messages[:2] == ['run completed: fix-it "two"', 'run completed: fix-it "one"']
    shown = daemon.cli("diff", "fix-it", commit).stdout
    assert "hello two" in shown and "hello one" not in shown
    assert "→ bash: echo the flux capacitor" in git(daemon.root, "log", "-p", "--", "sessions/")
    assert json.loads(daemon.cli("show", "fix-it", "--at", commit, "--output", "json").stdout) == then


def test_a_fork_goes_on_over_a_kill_and_an_index_that_is_lost(fresh: Fresh) -> None:
    daemon = fresh(routes=ROUTES)
    daemon.client.sessions.create("fix-it", route="talks")
    daemon.client.runs.start("fix-it", "one", wait="20s")

    made = daemon.cli("fork", "fix-it", "again", "--title", "second try")
    daemon.restart()
    run = daemon.client.runs.start("again", "two", wait="20s")

    assert made.returncode == 0, made.stderr
    assert run.output == "hello two"
    daemon.quiet()
    assert git(daemon.root, "ls-files", "sessions/*/again/forked/*").endswith("forked/000001.jsonl\n")
    daemon.kill9()
    for file in daemon.root.glob(".kheish/index*"):
        file.unlink()
    daemon.start()
    assert daemon.client.sessions.get("again")["forked_from"]["session_id"] == "fix-it"
    assert daemon.client.sessions.search("again", "two")["items"][0]["run_id"] == run.run_id
    until(lambda: daemon.http("GET", "/v1/sessions/again?at=HEAD").status_code == 200)


def test_a_deleted_session_stays_deleted(fresh: Fresh) -> None:
    daemon = fresh(routes=ROUTES)
    sessions = daemon.client.sessions
    for name in ("gone", "stays"):
        sessions.create(name, route="talks")
        daemon.client.runs.start(name, name, wait="20s")
    daemon.quiet()
    commit = git(daemon.root, "rev-parse", "HEAD").strip()

    daemon.cli("sessions", "delete", "gone", "--yes")
    daemon.restart()  # before or after its commit, whichever it is

    daemon.quiet()
    assert not list(daemon.root.glob("sessions/*/gone"))
    assert git(daemon.root, "ls-files", "sessions/*/gone/*") == ""
    daemon.kill9()
    for file in daemon.root.glob(".kheish/index*"):
        file.unlink()
    daemon.start()
    with pytest.raises(SessionDeleted):
        sessions.get("gone")
    with pytest.raises(SessionConflict):
        sessions.create("gone", route="talks")
    assert sessions.get("gone", at=commit)["status"] == "idle"
    assert [one["session_id"] for one in sessions.list(q="flux capac*")["items"]] == ["stays"]
