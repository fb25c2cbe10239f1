from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kheish.errors import ForeignRepository, Invalid, LockHeld, NewerFormat, NotAStateRoot
from kheish.store import lock
from kheish.store.git import root_format, template
from tests.store import roots


def test_init_makes_a_clean_repository(tmp_path: Path) -> None:
    root = tmp_path / "root"
    template.init(root)

    assert roots.git(root, "status", "--short", "--branch") == "## main"
    assert roots.git(root, "log", "--format=%s") == "new state root"
    assert roots.git(root, "fsck") == ""
    assert roots.git(root, "config", "push.followTags") == "true" and roots.git(root, "config", "gc.auto") == "0"
    assert roots.git(root, "check-ignore", ".kheish/token", "PROBLEMS.md").split() == [".kheish/token", "PROBLEMS.md"]
    assert (root / ".kheish/token").stat().st_mode & 0o777 == 0o600
    found = root_format.open_root(root)
    assert found.version == 1 and found.root_id.startswith("root_") and found.incarnation


def test_init_again_refreshes_only_what_is_the_daemons(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    token, before = template.ensure_token(root), root_format.open_root(root)
    (root / "README.md").write_text("old\n")
    (root / "kheish.yaml").write_text("# mine\n")
    roots.git(root, "commit", "-qam", "changed")

    template.init(root)

    assert "A Kheish state root" in roots.git(root, "show", "HEAD:README.md")
    assert (root / "kheish.yaml").read_text() == "# mine\n"
    assert (template.ensure_token(root), root_format.open_root(root)) == (token, before)
    assert roots.git(root, "status", "--short") == ""
    assert roots.git(root, "log", "--format=%s", "-1") == "files of the daemon brought up to date"


def test_a_served_root_is_left_alone(tmp_path: Path) -> None:
    root = roots.make(tmp_path)

    with lock.RootLock(root), pytest.raises(LockHeld):
        template.init(root)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    foreign, full = tmp_path / "foreign", tmp_path / "full"
    foreign.mkdir()
    full.mkdir()
    roots.git(foreign, "init", "-q")
    (full / "file").touch()

    with pytest.raises(ForeignRepository):
        template.init(foreign)
    with pytest.raises(Invalid, match="neither empty"):
        template.init(full)
    with pytest.raises(NotAStateRoot):
        root_format.open_root(full)
    assert os.listdir(full) == ["file"] and os.listdir(foreign) == [".git"]


def test_a_newer_or_broken_format_is_refused(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    said = (root / "format.yaml").read_text()

    (root / "format.yaml").write_text(said.replace("format: 1", "format: 2"))
    with pytest.raises(NewerFormat):
        root_format.open_root(root)
    with pytest.raises(NewerFormat):
        template.init(root)
    (root / "format.yaml").write_text("format: [\n")
    with pytest.raises(NotAStateRoot, match="line 1"):
        root_format.open_root(root)


def test_journals_are_shown_as_a_conversation_and_raw_where_kheish_is_gone(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    path = root / "journals/audit/000001.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(
        '{"v":1,"n":7,"at":"2026-11-22T12:00:00.1Z","kind":"x.said","run":"r1","data":{"text":"a\\nb"}}\nbroken\n'
    )
    roots.git(root, "add", ".")
    roots.git(root, "commit", "-qm", "x")

    shown = roots.git(root, "log", "-p", "-1")
    assert "+2026-11-22 12:00:00Z  x.said  #7  r1\n+    text:\n+      a\n+      b\n" in shown and "+    broken" in shown

    command = roots.git(root, "config", "diff.kheish-journal.textconv").replace("textconv.py", "gone.py")
    raw = subprocess.run(f"{command} {path}", shell=True, capture_output=True, text=True, check=True)
    assert raw.stdout == path.read_text()


def test_conversations_are_shown_where_git_has_no_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git commits to a cache of conversations, and dies where it may not guess whose commit that is."""
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    root = tmp_path / "root"
    template.init(root)
    path, _ = roots.journal(root, "s", 1)
    roots.git(root, "add", "-f", path)
    roots.git(root, "commit", "-qm", "x")
    shown = subprocess.run(
        ["git", "-c", "user.useConfigOnly=true", "log", "-p", "-1"], cwd=root, capture_output=True, text=True
    )
    assert (shown.returncode, shown.stderr) == (0, "") and path in shown.stdout

    (tmp_path / ".gitconfig").write_text("[user]\nname = Pat\nemail = pat@example.org\n")
    assert template.settings(root)["diff.kheish-journal.cachetextconv"] == "true"
