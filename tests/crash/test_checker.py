"""The checker finds each fault that is planted into a good state root."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash import checker
from tests.support.daemon import Daemon, allow, ask, bash, call, git, until

Lines = list[dict[str, Any]]
Change = Callable[[Lines], object]
BEHIND = [
    {"tool_calls": [call("shell_task_start", command="echo d >> ledger.txt")]},
    {"tool_calls": [call("write_file", path="d.txt", content="base")]},
    {"tool_calls": [call("edit_file", path="d.txt", old_string="base", new_string="base+d")]},
    {"tool_calls": [call("write_file", path="bulky/d.txt", content="d" * 20_000)]},
    bash("seq 1 6000"),
    {"text": "done"},
]
ALLOWED = [{"tool": one, "decision": "allow"} for one in ("shell_task_start", "edit_file", "bash")]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped state root with finished runs, an answered approval, a background command, an edit, a spilled payload
    and an open question; beside it the ledger."""
    folder = tmp_path_factory.mktemp("good")
    turns = [bash("echo {{input}} >> ledger.txt"), bash("id -u"), {"text": "{{last_result}}"}]
    routes = {"work": turns, "asks": [ask(), {"text": "x"}], "behind": BEHIND}
    with Daemon.fresh(folder, routes=routes, permissions=allow("echo *")) as daemon:
        for name in ("a", "b"):
            daemon.client.sessions.create(name, route="work")
            run = daemon.client.runs.start(name, name, wait="20s", idempotency_key=name)
            daemon.client.approvals.allow(run.data["pending_approvals"][0])
            daemon.run(run.run_id)
        daemon.client.sessions.create("c", route="asks")
        daemon.client.runs.start("c", "c", wait="20s")
        daemon.client.sessions.create("d", route="behind", permission_rules=ALLOWED)
        daemon.client.runs.start("d", "d", wait="20s")
        until(lambda: "task.ended" in daemon.kinds("d"), what="the background command has ended")
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


def _lines(root: Path, session: str) -> Lines:
    path = next(root.glob(f"sessions/*/{session}/journal/000001.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


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


def again(kind: str) -> Change:
    """The entry of this kind once more, later in the journal."""

    def how(lines: Lines) -> None:
        lines.append({**first(lines, kind), "n": lines[-1]["n"] + 1_000_000, "seq": lines[-1]["seq"] + 1})

    return how


def twice(kind: str) -> Change:
    """The same, at its place."""

    def how(lines: Lines) -> None:
        found = first(lines, kind)
        lines.insert(lines.index(found) + 1, dict(found))

    return how


def before(kind: str, other: str) -> Change:
    def how(lines: Lines) -> None:
        found = first(lines, kind)
        lines.remove(found)
        lines.insert(lines.index(first(lines, other)), {**found, "n": first(lines, other)["n"] - 1})

    return how


#: what is planted into the journal of which session → (what the checker must say, session, change)
PLANTED: dict[str, tuple[str, str, Change]] = {
    "n twice": ("n_twice", "a", lambda lines: lines[3].update(n=1)),
    "n goes back": ("n_order", "a", lambda lines: lines[4].update(n=lines[2]["n"])),
    "seq gap": ("seq_gap", "a", lambda lines: lines[-1].update(seq=lines[-1]["seq"] + 1)),
    "not an entry": ("torn_line", "a", lambda lines: lines[2].pop("kind")),
    "illegal move": ("illegal_move", "a", lambda lines: first(lines, "run.started").update(kind="run.requeued")),
    "started twice": ("illegal_move", "a", lambda lines: first(lines, "run.resumed").update(kind="run.started")),
    "never ended": ("stuck", "a", without("run.completed")),
    "tool without end": ("never_finished", "a", without("tool.finished")),
    "a result twice": ("finished_twice", "a", twice("tool.finished")),
    "a start after the result": ("started_after_end", "a", before("tool.finished", "tool.started")),
    "an unsafe call again": ("repeated", "a", twice("tool.started")),
    "answer nobody asked": ("answered_unasked", "a", without("approval.requested")),
    "answered twice": ("answered_twice", "a", again("approval.resolved")),
    "request left open": ("open_after_end", "a", without("approval.resolved")),
    "work after the end": ("work_outside", "a", lambda lines: lines.insert(0, lines.pop(5))),
    "effect without start": ("effect_twice", "a", without("tool.started")),
    "background effect without start": ("effect_twice", "d", without("tool.started")),
    "a key twice": ("key_twice", "a", again("run.submitted")),
    "record differs": ("record", "a", lambda lines: lines[-1].update(kind="run.failed")),
    "a run that fails by itself": (
        "failed_by_itself", "a", lambda lines: lines[-1].update(kind="run.failed", data={"error": {"code": "damaged"}}),
    ),
    "a background command without end": ("task_open", "d", without("task.ended")),
    "ended twice": ("task_ended_twice", "d", again("task.ended")),
    "made twice": ("task_made_twice", "d", again("task.created")),
    "spill missing": (
        "spill_missing", "a",
        lambda lines: lines[-1]["data"].update(output={"sha256": "0" * 64, "bytes": 1, "preview": ""}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_journal_fault_is_found(root: Path, name: str) -> None:
    code, session, how = PLANTED[name]

    change(root, session, how)

    assert code in codes(root)


def _rename_segment(root: Path) -> None:
    path = next(root.glob("sessions/*/a/journal/000001.jsonl"))
    path.rename(path.with_name("000003.jsonl"))


def _close_early(root: Path) -> None:
    path = next(root.glob("sessions/*/a/journal/000001.jsonl"))
    path.with_name("000002.jsonl").write_text("")


def _damage_spill(root: Path) -> None:
    path = next(root.glob("sessions/*/d/spill/*"))
    path.write_bytes(path.read_bytes() + b"x")


def _torn(root: Path) -> None:
    with next(root.glob("sessions/*/b/journal/000001.jsonl")).open("ab") as file:
        file.write(b'{"v":1,"n":999')


def _work(root: Path, name: str, text: str | None) -> None:
    path = root.parent / "work" / name
    path.write_text(text) if text is not None else path.unlink()


#: the same for what is not an entry
FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a segment out of its place": ("segment_name", _rename_segment),
    "a segment closed early": ("segment_size", _close_early),
    "spill damaged": ("spill_damaged", _damage_spill),
    "an effect lost": ("effect_lost", lambda root: _work(root, "ledger.txt", "a\nd\n")),
    "a background effect lost": ("effect_lost", lambda root: _work(root, "ledger.txt", "a\nb\n")),
    "an effect twice": ("effect_twice", lambda root: _work(root, "ledger.txt", "a\nb\nb\nd\n")),
    "an edit lost": ("effect_lost", lambda root: _work(root, "d.txt", "base")),
    "an edit twice": ("effect_twice", lambda root: _work(root, "d.txt", "base+d+d")),
    "a large file damaged": ("bulk_damaged", lambda root: _work(root, "bulky/d.txt", "d" * 19_999)),
    "a stray file": ("status", lambda root: (root / "sessions" / "stray").touch()),
    "a lock left": ("lock_left", lambda root: (root / ".git" / "index.lock").touch()),
    "a torn line": ("torn_line", _torn),
    "a pending file gone": ("pending", lambda root: next(root.glob("pending/questions/*.yaml")).unlink()),
    "a pending file too many": ("pending", lambda root: (root / "pending" / "approvals" / "appr_x.yaml").touch()),
}


@pytest.mark.parametrize("name", FILES)
def test_a_planted_fault_of_files_is_found(root: Path, name: str) -> None:
    code, plant = FILES[name]

    plant(root)

    assert code in codes(root)


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
    assert codes(root, acks) - {"not_in_head"} == {"acknowledged"}


def test_what_was_acknowledged_and_only_the_work_tree_has_is_found(root: Path) -> None:
    run = first(_lines(root, "a"), "run.submitted")["run"]
    git(root, "rm", "-q", "--cached", str(next(root.glob("sessions/*/a/journal/000001.jsonl")).relative_to(root)))
    git(root, "commit", "-qm", "planted")

    assert {"not_in_head", "not_committed"} <= codes(root, {"runs": [{"id": run, "session": "a", "n": 3}]})


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


def test_a_clone_is_checked_too(root: Path) -> None:
    assert checker.check_copy(root) == []

    change(root, "b", lambda lines: lines.pop(-2))

    assert {"n_gap", "seq_gap"} <= {one.code for one in checker.check_copy(root)}


def test_each_kind_of_finding_has_a_planted_fault() -> None:
    folder = Path(__file__).parent
    sources = [folder / f"{name}.py" for name in ("journals", "histories", "effects", "repository")]
    known = {code for path in sources for code in re.findall(r'Finding\(\s*"(\w+)"', path.read_text())}
    tested = set(re.findall(r'"(\w+)"', Path(__file__).read_text()))

    assert len(known) > 30 and known <= tested, known - tested


def test_the_checker_applies_every_rule() -> None:
    source = inspect.getsource(checker)
    modules = [one for one in vars(checker).values() if inspect.ismodule(one)]
    rules = [
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name, found in inspect.getmembers(module, inspect.isfunction)
        if found.__annotations__.get("return") == "Iterator[Finding]" and not name.startswith("_")
    ]

    assert len(rules) > 25
    assert [rule for rule in rules if not re.search(rf"\b{rule}\b", source)] == []


def test_the_checker_shares_no_code_with_the_writer() -> None:
    code = "import sys, tests.crash.checker; print([name for name in sys.modules if name.startswith('kheish')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())

    assert done.stdout.strip() == "[]", done.stderr
