from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from kheish.errors import Conflict, Invalid, NewerFormat
from kheish.store.git import migration, root_format
from kheish.store.git.migration import Below, Read
from kheish.store.log import journal
from tests.store import roots
from tests.support.daemon import Daemon, git, until


def renames(read: Read, below: Below) -> Mapping[str, bytes | None]:
    """A step as a later format may need it: Records move, and their content changes."""
    found = [path for path in below("sessions") if path.endswith("session.yaml")]
    moved: dict[str, bytes | None] = dict.fromkeys(found)
    return moved | {path.replace("session.yaml", "about.yaml"): read(path) + b"format: 2\n" for path in found}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A root of format 1 with a journal and a Record."""
    root = roots.make(tmp_path)
    path, _ = roots.journal(root, "a", 3)
    (root / path).write_text("".join(f'{{"v":1,"n":{n},"seq":{n},"kind":"x"}}\n' for n in (1, 2, 3)))
    (root / Path(path).parent.parent / "session.yaml").write_text("session_id: a\n")
    roots.git(root, "add", "-A", "sessions")
    roots.git(root, "commit", "-qm", "work")
    roots.git(root, "update-ref", "refs/kheish/last", "HEAD")
    return root


@pytest.mark.demand(10)
def test_an_older_format_is_brought_along_by_one_commit_and_journals_stay_as_they_are(old: Path) -> None:
    before = [path.read_bytes() for path in sorted(old.rglob("*.jsonl"))]
    commits = int(roots.git(old, "rev-list", "--count", "HEAD"))

    assert migration.migrate(old, {1: renames}, to=2) == ["format 1 to 2"]

    assert int(roots.git(old, "rev-list", "--count", "HEAD")) == commits + 1
    assert roots.git(old, "status", "--porcelain") == ""
    assert root_format.read_format(old).version == 2
    (about,) = old.glob("sessions/*/a/about.yaml")
    assert about.read_text() == "session_id: a\nformat: 2\n" and not about.with_name("session.yaml").exists()
    assert [path.read_bytes() for path in sorted(old.rglob("*.jsonl"))] == before
    where = about.parent.relative_to(old).as_posix() + "/journal"
    assert len(list(journal.read(old, where))) == 3
    with pytest.raises(NewerFormat, match="install a newer"):
        root_format.open_root(old)


def test_a_migration_that_was_killed_before_the_work_tree_was_written_is_finished(old: Path) -> None:
    migration.migrate(old, {1: renames}, to=2)
    roots.git(old, "checkout", "-q", "HEAD~1", "--", ".")

    assert migration.migrate(old, {1: renames}, to=2) == []

    assert root_format.read_format(old).version == 2
    assert list(old.glob("sessions/*/a/about.yaml")) and not list(old.glob("sessions/*/a/session.yaml"))
    assert roots.git(old, "status", "--porcelain") == ""


def test_a_step_that_is_missing_or_reaches_too_far_changes_nothing(old: Path) -> None:
    head = roots.git(old, "rev-parse", "HEAD")
    (old / "kheish.yaml").write_text("bind: 127.0.0.1:4711\n")

    with pytest.raises(Invalid, match="older Kheish"):
        migration.migrate(old, {}, to=2)
    with pytest.raises(Invalid, match="journals"):
        migration.migrate(old, {1: lambda read, below: dict.fromkeys(below("sessions"))}, to=2)
    with pytest.raises(Conflict, match=r"kheish\.yaml"):
        migration.migrate(old, {1: lambda read, below: {"kheish.yaml": b""}}, to=2)

    assert roots.git(old, "rev-parse", "HEAD") == head and root_format.read_format(old).version == 1
    assert (old / "kheish.yaml").read_text() == "bind: 127.0.0.1:4711\n"


def set_format(daemon: Daemon, version: int, *, commit: bool = True) -> None:
    path = daemon.root / "format.yaml"
    path.write_text(re.sub(r"(?m)^format: \d+$", f"format: {version}", path.read_text()))
    if commit:
        git(daemon.root, "commit", "-qam", f"format {version}")


def test_a_start_brings_a_root_along_in_a_child_and_says_why_where_it_cannot(tmp_path: Path) -> None:
    daemon = Daemon.make(tmp_path)
    try:
        set_format(daemon, 0)
        daemon.spawn()
        until(lambda: not daemon.running, what="it refuses")
        assert daemon.process is not None and daemon.process.returncode == Conflict.exit_code
        assert "start it with an older Kheish" in daemon.stderr() and "Traceback" not in daemon.stderr()
        daemon.end_of_life()

        set_format(daemon, 1)
        set_format(daemon, 0, commit=False)  # as a kill leaves it between the commit and the work tree
        daemon.start()
        daemon.quiet()
        assert root_format.read_format(daemon.root).version == 1
        assert "the state root was migrated: an interrupted migration was completed" in daemon.stderr()
    finally:
        daemon.end()
