"""The daemon's files, changed by somebody else: that is kept under `conflicts/`, and the daemon's comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kheish.store.git import gitworker
from tests.store import roots
from tests.support.daemon import Daemon, git, until


def kept(root: Path) -> dict[str, str]:
    """What lies under `conflicts/`, by the name of the file that it was in."""
    return {path.name.rpartition(".")[0]: path.read_text() for path in (root / "conflicts").glob("*")}


def told(daemon: Daemon) -> list[str]:
    """The paths that events say were put back."""
    lines = [line for path in daemon.root.glob("journals/daemon/*.jsonl") for line in path.read_text().splitlines()]
    events = [entry for entry in map(json.loads, lines) if entry["kind"] == "files.put_back"]
    return [path for entry in events for path in entry["data"]["paths"]]


def appended(path: Path) -> None:
    path.write_text(path.read_text() + "# a note of mine\n")


def same_length(path: Path) -> None:
    """In place, and as long as before: only the time of the file tells it."""
    with path.open("r+b") as file:
        content = file.read().replace(b"first", b"FALSE")
        file.seek(0)
        file.write(content)


def replaced(path: Path) -> None:
    path.with_name("x.tmp").write_text(path.read_text().replace("first", "something else"))
    path.with_name("x.tmp").replace(path)


@pytest.mark.parametrize(
    ("name", "edit"),
    [("session.yaml", appended), ("journal/000001.jsonl", same_length), ("journal/000001.jsonl", replaced)],
    ids=["record", "journal-in-place", "journal-replaced"],
)
def test_an_outside_change_is_kept_when_the_daemon_writes_next(
    shared: Daemon, name: str, edit: Callable[[Path], None]
) -> None:
    session = f"conflict-{edit.__name__.replace('_', '-')}"
    shared.client.sessions.create(session_id=session)
    shared.run(shared.client.runs.start(session=session, route="hello", content="first").run_id)
    shared.quiet()
    (path,) = shared.root.glob(f"sessions/*/{session}/{name}")
    edit(path)
    mine, relative = path.read_text(), path.relative_to(shared.root).as_posix()
    shared.run(shared.client.runs.start(session=session, route="hello", content="second").run_id)
    until(lambda: relative in told(shared), what="an event says so")
    shared.quiet()
    assert kept(shared.root)[relative.replace("/", "_")] == mine
    assert [entry["seq"] for entry in shared.journal(session)] == list(range(1, len(shared.journal(session)) + 1))
    commits = git(shared.root, "rev-list", "HEAD", "--", relative).split()
    texts = [git(shared.root, "show", f"{commit}:{relative}") for commit in commits]
    assert mine not in texts, "no commit ever had it in the daemon's place"


@pytest.mark.parametrize("line", ['{"v":1,"n":1,"seq":99,"kind":"run.completed"}\n', "a note of mine\n"])
def test_what_was_appended_to_a_journal_that_nothing_goes_on_in_is_put_aside(shared: Daemon, line: str) -> None:
    session = f"conflict-quiet-{len(line)}"
    shared.client.sessions.create(session_id=session)
    shared.quiet()
    (path,) = shared.root.glob(f"sessions/*/{session}/journal/000001.jsonl")
    before, relative = path.read_text(), path.relative_to(shared.root).as_posix()
    path.write_text(before + line)

    git(shared.root, "update-index", "--force-write-index")  # or within a minute or so

    until(lambda: relative in told(shared), what="an event says so")
    until(lambda: path.read_text() == before, what="the daemon's is back")
    assert kept(shared.root)[relative.replace("/", "_")] == before + line


def test_the_slow_look_finds_what_nothing_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = roots.make(tmp_path)
    worker = gitworker.Worker(root)
    worker.start()
    worker.commit(**roots.cut(root, "fix-it", 3))
    record = root / "sessions/2026-11-22/fix-it/session.yaml"
    theirs, spare = record.read_text(), (root / "format.yaml").read_text()
    worker.look()
    record.write_text("mine: yes\n")
    (root / "format.yaml").unlink()
    assert "put_back" not in worker.look(), "not before its time"
    monkeypatch.setattr(worker, "_scan_at", 0.0)  # a minute later
    found = worker.look()
    assert found["put_back"] == ["format.yaml", record.relative_to(root).as_posix()]
    assert [(root / path).read_text() for path in found["aside"]] == ["mine: yes\n"]
    assert (record.read_text(), (root / "format.yaml").read_text()) == (theirs, spare)


def test_what_a_killed_worker_half_wrote_is_nobodys_conflict(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    gitworker.Worker(root).commit(**roots.cut(root, "fix-it", 1))
    folder = "sessions/2026-11-22/fix-it/journal"
    with pytest.raises(OSError, match="journal"):  # the last thing that it does to the work tree: so all is written
        gitworker.Worker(root).commit(**roots.cut(root, "fix-it", 2, deletes=[folder]))
    assert "last_n: 2" in (root / "sessions/2026-11-22/fix-it/session.yaml").read_text()
    gitworker.Worker(root).commit(**roots.cut(root, "fix-it", 3))
    assert not (root / "conflicts").exists()
    assert "last_n: 3" in roots.git(root, "show", "HEAD:sessions/2026-11-22/fix-it/session.yaml")
