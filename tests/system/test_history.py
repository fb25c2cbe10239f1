"""History for people, by a real daemon, git and CLI: as it was, forks, deletion, and what a kill leaves of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kheish.errors import NotFound, SessionConflict, SessionDeleted
from tests.support.daemon import Daemon, allow, bash, git, until

Fresh = Callable[..., Daemon]
ROUTES = {"talks": [bash("echo the flux capacitor"), {"text": "hello {{input}}"}]}
RECALL = {"tool_calls": [{"name": "memory_search", "arguments": {"query": '"flux capacitor" quieter*'}}]}
MORE = {
    "says": [{"text": "said"}],
    "recalls": [RECALL, {"text": "found: {{last_result}}"}],
    "asks": [bash("id -u"), {"text": "it said {{last_result}}"}],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that nobody kills; tests have sessions of their own names."""
    routes = {**ROUTES, **MORE}
    with Daemon.fresh(tmp_path_factory.mktemp("history"), permissions=allow("echo *"), routes=routes) as daemon:
        yield daemon


@pytest.mark.demand(4)
def test_the_past_by_commit_event_and_time(served: Daemon) -> None:
    sessions = served.client.sessions
    sessions.create("fix-it", route="talks")
    first = served.client.runs.start("fix-it", "one", wait="20s")
    served.quiet()
    commit = git(served.root, "rev-parse", "HEAD").strip()
    then = sessions.get("fix-it")
    second = served.client.runs.start("fix-it", "two", wait="20s")
    served.quiet()

    for rev in (commit, commit[:10], f"n:{then['last_n']}", str(then["last_n"])):
        assert sessions.get("fix-it", at=rev) == then
    assert served.client.runs.get(first.run_id, at=commit).data == first.refresh().data
    assert served.http("GET", f"/v1/runs/{second.run_id}?at={commit}").status_code == 404
    stamp = git(served.root, "log", "-1", "--format=%cI", commit).strip()

    def is_there() -> bool:  # the index learns of a commit a moment after it was made
        with contextlib.suppress(NotFound):
            return bool(sessions.get("fix-it", at=f"@{{{stamp}}}")["last_n"] >= then["last_n"])
        return False

    until(is_there, what="the session as of the commit's time")
    messages = ['run completed: fix-it "two"', 'run completed: fix-it "one"']
    until(lambda: [one["message"] for one in sessions.history("fix-it")["items"]][:2] == messages, what="both commits")
    shown = served.cli("diff", "fix-it", commit).stdout
    assert "hello two" in shown and "hello one" not in shown
    assert "→ bash: echo the flux capacitor" in git(served.root, "log", "-p", "--", "sessions/")
    assert json.loads(served.cli("show", "fix-it", "--at", commit, "--output", "json").stdout) == then


def test_an_agent_finds_what_was_said_in_its_own_session_alone(served: Daemon) -> None:
    sessions, runs = served.client.sessions, served.client.runs
    for name, text in (("mine", "the flux capacitor is quieter today"), ("other", "a flux capacitor, quieter: no")):
        sessions.create(name, route="says")
        runs.start(name, text, wait="20s")
        runs.start(name, "and now for something else", wait="20s")

    sessions.fork("mine", "child")
    for name, found in (("mine", True), ("child", True), ("third", False)):
        if name == "third":
            sessions.create("third")
        answer = runs.start(name, "what did I say?", route="recalls", wait="20s").output or ""
        assert ("the flux capacitor is quieter today" in answer) is found
        assert ("No matches in this session's history, and none in memory." in answer) is not found
        assert "a flux capacitor, quieter: no" not in answer


@pytest.mark.demand(4)
def test_who_decided_and_who_wrote_what_as_it_was(served: Daemon) -> None:
    served.client.sessions.create("audit", route="asks")
    started = served.client.runs.start("audit", "who am I?")
    (id,) = served.run(started.run_id, "waiting_for_approval")["pending_approvals"]
    served.quiet()
    git(served.root, "tag", "before")
    served.write("routes/asks.yaml", (served.root / "routes/asks.yaml").read_text().replace("it said", "it says"))
    until(lambda: "it says" in git(served.root, "show", "HEAD:routes/asks.yaml"), what="the edit is committed")
    served.client.approvals.resolve(id, "allow", reason="I know it")
    served.run(started.run_id)
    served.quiet()

    assert served.client.approvals.get(id, at="before")["status"] == "pending"
    (decision,) = served.client.approvals.get(id, at="HEAD")["decisions"]
    assert (decision["decision"], decision["reason"], decision["via"]) == ("allow", "I know it", "api")
    shown = json.loads(served.cli("approvals", "show", id, "--at", "before", "--output", "json").stdout)
    assert shown["decisions"] == []
    assert "it said" in served.cli("routes", "show", "asks", "--at", "before").stdout
    assert served.cli("runs", "show", started.run_id, "--at", "before").stdout.count("waiting_for_approval") == 1
    lines = served.client.blame("routes/asks.yaml")["lines"]
    (edited,) = [line for line in lines if "it says" in line["text"]]
    assert edited["summary"] == "edit: routes/asks.yaml"
    blamed = git(served.root, "blame", "--line-porcelain", "HEAD", "--", "routes/asks.yaml").splitlines()
    authors = [line.removeprefix("author ") for line in blamed if line.startswith("author ")]
    assert [line["author"] for line in lines] == authors and len(authors) > 1
    assert edited["commit"][:8] in served.cli("blame", str(served.root / "routes/asks.yaml")).stdout
    assert "it says" not in served.cli("blame", "routes/asks.yaml", "--at", "before").stdout
    assert served.cli("blame", "routes/none.yaml").returncode == 3
    assert served.cli("blame", "sessions/x").returncode == 2


@pytest.mark.demand(4)
@pytest.mark.demand(11)
def test_git_alone_tells_the_conversation_and_does_no_harm_elsewhere(served: Daemon, tmp_path: Path) -> None:
    served.client.sessions.create("told", route="talks")
    served.client.runs.start("told", "one", wait="20s")
    served.quiet()
    words = ("log", "-p", "--", "sessions/*/told/*")
    bare = {"PATH": str(tmp_path / "bin")}  # with git, and neither kheish nor python
    (tmp_path / "bin").mkdir()
    for program in ("git", "sh", "cat"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program) or program)

    told = git(served.root, *words, **bare)
    assert "→ bash: echo the flux capacitor" in told and '"kind":"tool.started"' not in told
    driver = git(served.root, "config", "diff.kheish-journal.textconv").strip()
    gone = ("-c", f"diff.kheish-journal.textconv={driver.replace(sys.executable, '/nowhere/python')}")
    assert '"kind":"tool.started"' in git(served.root, *gone, *words, **bare)
    git(tmp_path, "clone", "-q", str(served.root), "clone")
    assert '"kind":"tool.started"' in git(tmp_path / "clone", *words, **bare)
    assert git(tmp_path / "clone", "diff", "HEAD~1", "--stat", **bare)
    assert served.cli("restore", str(tmp_path / "clone"), str(tmp_path / "restored")).returncode == 0
    assert "→ bash: echo the flux capacitor" in git(tmp_path / "restored", *words)


@pytest.mark.demand(11)
def test_a_clone_of_a_root_at_work_is_a_clean_backup_at_any_moment(served: Daemon, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as people:
        working = [people.submit(_work, served, f"s{number}") for number in range(4)]
        for number in range(2):
            git(tmp_path, "clone", "-q", str(served.root), f"clone{number}")
        for one in working:
            one.result()
    for number in range(2):
        restored = tmp_path / f"restored{number}"
        made = served.cli("restore", str(tmp_path / f"clone{number}"), str(restored))
        verified = served.cli("--state-root", str(restored), "state", "verify")
        assert (made.returncode, verified.returncode) == (0, 0), made.stderr + verified.stdout + verified.stderr
        git(restored, "fsck", "--full")
        assert git(restored, "status", "--porcelain") == ""


def _work(daemon: Daemon, session: str) -> None:
    """Ten runs, one after another."""
    daemon.client.sessions.create(session, route="talks")
    for number in range(10):
        daemon.client.runs.start(session, str(number), wait="20s")


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
        file.unlink(missing_ok=True)  # the scribe, which outlives the daemon for a moment, removes some
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
