"""Files dropped into `inbox/<session>/`: one run each, once, whatever happens meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, ask, git, until
from tests.system.conftest import Fresh


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon of this file's own: the inbox makes sessions, which take the default route."""
    made: dict[str, Any] = {"hello": [{"text": "hello {{input}}"}], "other": [{"text": "other"}], "asks": [ask()]}
    made["broken"] = [{"error": {"status": 400}}]
    with Daemon.fresh(tmp_path_factory.mktemp("inbox"), routes=made, config={"default_route": "hello"}) as daemon:
        yield daemon


def drop(daemon: Daemon, name: str, content: str | bytes) -> Path:
    path = daemon.root / "inbox" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def runs(daemon: Daemon, session: str) -> list[dict[str, Any]]:
    return [dict(one) for one in daemon.client.runs.list(session=session, limit=200)["items"]]


def rejected(daemon: Daemon) -> dict[str, str]:
    """What was put aside and is committed: name and content."""
    folder = daemon.root / "inbox" / "rejected"
    return {path.name: path.read_text(errors="replace") for path in folder.glob("*")} if folder.exists() else {}


def empty(daemon: Daemon) -> bool:
    there = [path for path in (daemon.root / "inbox").rglob("*") if path.is_file() and path.name != ".gitkeep"]
    there = [path for path in there if "rejected" not in path.parts]
    return not there and not list((daemon.root / ".git/kheish/inbox").glob("*"))


def test_a_note_becomes_one_run_and_moves_into_the_session(served: Daemon) -> None:
    drop(served, "dropped/note.md", "Wörld")

    (run,) = until(lambda: runs(served, "dropped"), what="the run")
    assert served.run(run["run_id"])["output"] == "hello Wörld"
    assert (run["request"]["source"], run["request"]["actor"]) == ("inbox", "file")
    until(lambda: empty(served), what="the file is moved, and committed")
    served.quiet()
    kept = git(served.root, "ls-files", "sessions/*/dropped/inbox/*").split()
    assert [Path(path).name for path in kept] == [f"{run['run_id']}.note.md"]
    assert (served.root / kept[0]).read_text() == "Wörld"


def test_the_same_file_dropped_again_is_a_new_request(served: Daemon) -> None:
    """Also after a failure, also at once; redelivered by a kill or saved twice it is not."""
    drop(served, "again/task.yaml", "content: go\nroute: broken\n")
    (first,) = until(lambda: runs(served, "again"), what="the run")
    assert served.run(first["run_id"])["status"] == "failed"
    served.write("routes/broken.yaml", {"driver": "scripted", "script": {"turns": [{"text": "mended"}]}})
    until(lambda: "mended" in served.http("GET", "/v1/routes/broken").text, what="the route is mended")
    drop(served, "again/task.yaml", "content: go\nroute: broken\n")
    second = until(lambda: (found := runs(served, "again"))[1:] and found[0], what="another run")
    assert served.run(second["run_id"])["output"] == "mended"
    drop(served, "again/task.yaml", "content: wait\nroute: asks\n")
    waiting = until(lambda: (found := runs(served, "again"))[2:] and found[0], what="a third run")
    served.run(waiting["run_id"], "waiting_for_question")
    until(lambda: empty(served), what="a commit has it")
    (ticket := served.root / ".git/kheish/inbox/drop_1/again").mkdir(parents=True)
    served.stop()
    (ticket / "task.yaml").write_text("content: one\nroute: broken\n")
    for _ in range(2):
        served.start().kill9()
    served.start()
    until(lambda: empty(served), what="a commit has it")
    assert len(runs(served, "again")) == 4, "what was taken before a kill is the same drop after it"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad/a.yaml", "content: x\nrout: hello\n", "2:1: unknown key 'rout'"),
        ("bad/b.yaml", "content: x\nroute: nowhere\n", "nowhere"),
        ("bad/c.yaml", "a: [", "1:"),
        ("bad/d.png", b"\x89PNG", "Only .md, .txt, .yaml are accepted"),
        ("bad/e.md", b"\xff\xfe", "not UTF-8 text"),
        ("Not A Slug/f.md", "x", "not a legal name"),
        ("lost.md", "x", "inbox/<session>/"),
        ("bad/deep/g.md", "x", "inbox/<session>/"),
        ("bad/h.txt", "x" * (4 * 1024 * 1024 + 1), "larger than 4 MiB"),
    ],
)
def test_what_cannot_be_used_is_put_aside_with_the_reason(
    served: Daemon, name: str, content: str | bytes, reason: str
) -> None:
    drop(served, name, content)

    aside = name.replace("/", ".").replace(" ", "_")
    why = until(lambda: rejected(served).get(f"{aside}.problem.txt"), what="the reason")

    assert reason in why and f"inbox/{name}" in why
    raw = content if isinstance(content, bytes) else content.encode()
    assert until((served.root / "inbox" / "rejected" / aside).exists) and (
        (served.root / "inbox" / "rejected" / aside).read_bytes() == raw
    )
    until(lambda: empty(served), what="nothing is left over")
    if name.endswith("h.txt"):  # too large to be committed: git status shows it
        (served.root / "inbox" / "rejected" / aside).unlink()


def test_a_command_that_comes_with_a_file_asks_before_it_runs(served: Daemon) -> None:
    drop(served, "checked/task.yaml", "content: go\nsource: api\ncompletion: [{command: touch ran}]\n")
    (run,) = until(lambda: runs(served, "checked"), what="the run")
    waiting = served.run(run["run_id"], "waiting_for_approval")
    assert waiting["settings"]["checks_ask"]
    (approval,) = served.client.approvals.list(session="checked")["items"]
    assert approval["arguments"]["command"] == "touch ran"
    assert not (served.workspace / "ran").exists()
    served.client.approvals.resolve(approval["approval_id"], "allow")
    assert served.run(run["run_id"])["status"] == "completed" and (served.workspace / "ran").exists()
    again = served.client.runs.retry(run["run_id"]).run_id
    assert served.run(again, "waiting_for_approval"), "a retry makes nobody answer for it either"
    served.client.runs.cancel(again)


def test_two_that_differ_keep_both(served: Daemon) -> None:
    drop(served, "twins/a.png", "one")
    until(lambda: "twins.a.png" in rejected(served))
    drop(served, "twins/a.png", "two")
    until(lambda: rejected(served).get("twins.a.2.png") == "two")
    assert rejected(served)["twins.a.png"] == "one"


def test_it_waits_while_a_person_uses_git(served: Daemon) -> None:
    lock = served.root / ".git" / "index.lock"
    served.quiet()
    lock.touch()

    note = drop(served, "held/note.md", "x")
    time.sleep(1.5)
    untouched = note.exists()
    lock.unlink()

    assert untouched
    until(lambda: runs(served, "held") and empty(served), what="it is caught up")


@pytest.mark.parametrize("rounds", [4, pytest.param(30, marks=pytest.mark.campaign)])
def test_kills_at_any_moment_lose_none_and_run_none_twice(fresh: Fresh, rounds: int) -> None:
    chance = random.Random(7)
    daemon = fresh(routes={"hello": [{"text": "hello {{input}}"}]})
    for number in range(rounds):
        for part in range(3):
            drop(daemon, f"s{part}/note-{number}.md", f"{number}.{part}")
        drop(daemon, f"s0/bad-{number}.png", f"{number}")
        time.sleep(0.3 + chance.random() * 0.5)
        daemon.restart()

    until(lambda: empty(daemon), 40, what="all are taken, and committed")
    daemon.quiet()
    for part in range(3):
        texts = [one["request"]["items"][0]["text"] for one in runs(daemon, f"s{part}")]
        assert sorted(texts) == sorted(f"{number}.{part}" for number in range(rounds))
        kept = list(daemon.root.glob(f"sessions/*/s{part}/inbox/*.md"))
        assert sorted(path.read_text() for path in kept) == sorted(texts)
    aside = rejected(daemon)
    assert [aside[f"s0.bad-{number}.png"] for number in range(rounds)] == [str(number) for number in range(rounds)]
    assert len(aside) == 2 * rounds
