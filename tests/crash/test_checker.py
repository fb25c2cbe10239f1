"""The checker finds each fault that is planted into a good state root."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash import checker
from tests.support.daemon import Daemon, allow, ask, bash, git

Lines = list[dict[str, Any]]
Change = Callable[[Lines], object]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped state root with two finished runs, an answered approval and an open question; beside it the ledger."""
    folder = tmp_path_factory.mktemp("good")
    turns = [bash("echo {{input}} >> ledger.txt"), bash("id -u"), {"text": "{{last_result}}"}]
    routes = {"work": turns, "asks": [ask(), {"text": "x"}]}
    with Daemon.fresh(folder, routes=routes, permissions=allow("echo *")) as daemon:
        for name in ("a", "b"):
            daemon.client.sessions.create(name, route="work")
            run = daemon.client.runs.start(name, name, wait="20s")
            daemon.client.approvals.allow(run.data["pending_approvals"][0])
            daemon.run(run.run_id)
        daemon.client.sessions.create("c", route="asks")
        daemon.client.runs.start("c", "c", wait="20s")
        daemon.quiet()
        daemon.stop()
    return folder


@pytest.fixture
def root(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "copy", symlinks=True)) / "state"


def codes(root: Path, acks: Any = None) -> set[str]:
    return {one.code for one in checker.check(root, acks, root.parent / "work" / "ledger.txt")}


def change(root: Path, session: str, how: Change) -> None:
    """Change a session's journal, and commit it, so that only the content is wrong."""
    path = next(root.glob(f"sessions/*/{session}/journal/000001.jsonl"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    how(lines)
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    git(root, "commit", "-qam", "planted")


def first(lines: Lines, kind: str) -> dict[str, Any]:
    return next(line for line in lines if line["kind"] == kind)


def without(kind: str) -> Change:
    def how(lines: Lines) -> None:
        lines.remove(first(lines, kind))
        for seq, line in enumerate(lines, start=1):
            line["seq"] = seq

    return how


def test_a_good_root_has_no_findings(root: Path) -> None:
    assert checker.check(root, {}, root.parent / "work" / "ledger.txt") == []


PLANTED: dict[str, tuple[str, Change]] = {
    "n twice": ("n_twice", lambda lines: lines[3].update(n=1)),
    "n goes back": ("n_order", lambda lines: lines[4].update(n=lines[2]["n"])),
    "seq gap": ("seq_gap", lambda lines: lines[-1].update(seq=lines[-1]["seq"] + 1)),
    "not an entry": ("torn_line", lambda lines: lines[2].pop("kind")),
    "illegal move": ("illegal_move", lambda lines: first(lines, "run.started").update(kind="run.requeued")),
    "started twice": ("illegal_move", lambda lines: first(lines, "run.resumed").update(kind="run.started")),
    "never ended": ("stuck", without("run.completed")),
    "tool without end": ("never_finished", without("tool.finished")),
    "answer nobody asked": ("answered_unasked", without("approval.requested")),
    "request left open": ("open_after_end", without("approval.resolved")),
    "work after the end": ("work_outside", lambda lines: lines.insert(0, lines.pop(5))),
    "effect without start": ("effect_twice", without("tool.started")),
    "record differs": ("record", lambda lines: lines[-1].update(kind="run.failed")),
    "spill missing": (
        "spill_missing",
        lambda lines: lines[-1]["data"].update(output={"sha256": "0" * 64, "bytes": 1, "preview": ""}),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_journal_fault_is_found(root: Path, name: str) -> None:
    code, how = PLANTED[name]

    change(root, "a", how)

    assert code in codes(root)


def test_a_repeated_unsafe_call_and_a_doubled_effect_are_found(root: Path) -> None:
    def again(lines: Lines) -> None:
        start = first(lines, "tool.started")
        lines.insert(lines.index(start) + 1, dict(start))

    change(root, "a", again)
    ledger = root.parent / "work" / "ledger.txt"
    ledger.write_text(ledger.read_text() + "b\n")

    assert {"repeated", "effect_twice"} <= codes(root)


def test_a_lost_effect_is_found(root: Path) -> None:
    (root.parent / "work" / "ledger.txt").write_text("a\n")

    assert codes(root) == {"effect_lost"}


def test_order_in_a_session_is_checked(root: Path) -> None:
    def overlap(lines: Lines) -> None:
        for kind, place in (("run.submitted", 2), ("run.started", 3)):
            lines.insert(place, {**first(lines, kind), "run": "run_other"})

    change(root, "a", overlap)

    assert {"fifo", "two_active"} <= codes(root)


@pytest.mark.parametrize(
    "acks",
    [
        {"runs": [{"id": "run_lost", "session": "a", "n": 3}]},
        {"sessions": [{"id": "lost", "n": 3}]},
        {"approvals": [{"id": "appr_lost", "decision": "allow", "n": 3}]},
        {"questions": [{"id": "q_lost", "decision": "answer", "n": 3}]},
        {"sessions": [{"id": "a", "n": 10_000}]},
    ],
)
def test_what_was_acknowledged_and_is_not_there_is_found(root: Path, acks: Any) -> None:
    assert codes(root, acks) == {"acknowledged"}


def test_faults_of_files_and_git_are_found(root: Path) -> None:
    journal = next(root.glob("sessions/*/b/journal/000001.jsonl"))
    with journal.open("ab") as file:
        file.write(b'{"v":1,"n":999')
    (root / ".git" / "index.lock").touch()
    (root / "sessions" / "stray").touch()
    next(root.glob("pending/questions/*.yaml")).unlink()

    assert {"torn_line", "not_committed", "lock_left", "status", "pending"} <= codes(root)


def test_a_commit_that_lacks_an_entry_is_found(root: Path) -> None:
    newest = max(json.loads(line)["n"] for path in root.rglob("*.jsonl") for line in path.read_text().splitlines())
    git(root, "commit", "-q", "--allow-empty", "-m", f"cut\n\nKheish-Events: {newest + 1}-{newest + 2}")
    change(root, "a", lambda lines: lines.append({**lines[-1], "n": newest + 1, "seq": lines[-1]["seq"] + 1}))

    assert "cut" in codes(root)


def test_a_damaged_object_is_found(root: Path) -> None:
    blob = git(root, "rev-parse", "HEAD:kheish.yaml").strip()
    path = root / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"x")

    assert "fsck" in codes(root)
