"""A state root from a backup: the right branch, configured, marked as restored, or nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.errors import Invalid, NewerFormat, NotAStateRoot, Unavailable
from kheish.store.git import restore, restored, root_format
from kheish.store.git.repo import Repo
from tests.store.roots import cut, git, make


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A remote whose HEAD names a branch that holds something else."""
    root, bare = make(tmp_path), tmp_path / "remote.git"
    (root / "routes" / "crlf.yaml").write_bytes(b"driver: scripted\r\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "a person's")
    git(tmp_path, "init", "-q", "--bare", "-b", "trunk", str(bare))
    git(root, "push", "-q", str(bare), "main")
    git(root, "checkout", "-q", "--orphan", "trunk")
    git(root, "rm", "-rfq", ".")
    git(root, "commit", "-q", "--allow-empty", "-m", "something else")
    git(root, "push", "-q", str(bare), "trunk")
    return bare


def test_the_branch_that_holds_the_format_is_cloned_whatever_head_names(bare: Path, tmp_path: Path) -> None:
    made = restore.restore(str(bare), tmp_path / "new" / "place")
    root = tmp_path / "new" / "place"
    assert (made.root, made.branch, made.damaged) == (root, "main", [])
    assert made.commit == git(bare, "rev-parse", "main") == Repo(root).refs.head()
    assert git(root, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/main"
    assert git(root, "status", "--porcelain", "--branch") == "## main...origin/main"
    assert (root / "routes" / "crlf.yaml").read_bytes() == b"driver: scripted\r\n"
    assert git(root, "config", "push.followTags") == "true" and (root / ".kheish" / "token").exists()
    mark = restored.read(root)
    assert mark is not None and mark.pending
    assert [path.name for path in root.parent.iterdir()] == ["place"]


def test_a_branch_of_another_name_is_followed_and_several_must_be_chosen(bare: Path, tmp_path: Path) -> None:
    git(bare, "branch", "-m", "main", "state")
    made = restore.restore(str(bare), tmp_path / "one")
    assert made.branch == "state" and git(tmp_path / "one", "symbolic-ref", "HEAD") == "refs/heads/main"
    git(tmp_path / "one", "commit", "-q", "--allow-empty", "-m", "mine")
    git(tmp_path / "one", "push", "-q")
    assert git(bare, "log", "-1", "--format=%s", "state") == "mine"
    git(bare, "branch", "second", "state")
    with pytest.raises(Invalid, match="Several branches contain a state root: second, state"):
        restore.restore(str(bare), tmp_path / "two")
    assert restore.restore(str(bare), tmp_path / "two", branch="second").branch == "second"


def test_what_is_no_backup_leaves_nothing_behind(bare: Path, tmp_path: Path) -> None:
    git(bare, "branch", "-D", "main")
    with pytest.raises(NotAStateRoot, match="No branch of the remote"):
        restore.restore(str(bare), tmp_path / "here")
    with pytest.raises(Unavailable, match="git clone failed"):
        restore.restore(str(tmp_path / "nowhere.git"), tmp_path / "here")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(Invalid, match="not empty"):
        restore.restore(str(bare), tmp_path / "used")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["remote.git", "root", "used"]


def test_a_newer_format_is_refused_and_an_empty_folder_is_taken(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    restore.restore(str(bare), tmp_path / "empty")
    git(tmp_path, "clone", "-q", "-b", "main", str(bare), "edit")
    newer = root_format.Format(root_format.FORMAT + 1, "root_x", "inc_x")
    (tmp_path / "edit" / "format.yaml").write_bytes(root_format.format_file(newer))
    git(tmp_path / "edit", "commit", "-qam", "newer")
    git(tmp_path / "edit", "push", "-q")
    with pytest.raises(NewerFormat):
        restore.restore(str(bare), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_mark_survives_until_it_is_cleared_and_a_damaged_one_counts(tmp_path: Path) -> None:
    root = make(tmp_path)
    assert restored.read(root) is None
    restored.write(root, pending=True)
    since = restored.read(root)
    restored.write(root, pending=False)
    assert since is not None and restored.read(root) == restored.Mark(since.at, pending=False)
    (root / ".git" / "kheish" / "restored").write_text("{")
    assert (mark := restored.read(root)) is not None and mark.pending
    restored.clear(root)
    assert restored.read(root) is None


def test_damage_is_found_and_the_rest_is_restored(tmp_path: Path) -> None:
    root = make(tmp_path)
    cut(root, "fine", 3)
    cut(root, "broken", 3)
    path = root / "sessions" / "2026-11-22" / "broken" / "journal" / "000001.jsonl"
    path.write_text('{"v":1,"n":1,"seq":1}\nnot a line\n')
    fine = root / "sessions" / "2026-11-22" / "fine" / "journal" / "000001.jsonl"
    fine.write_text('{"v":1,"n":1,"seq":1}\n')
    git(root, "add", "-A")
    git(root, "commit", "-qm", "two sessions")
    made = restore.restore(str(root), tmp_path / "restored")
    assert made.damaged == ["sessions/2026-11-22/broken/journal/000001.jsonl:2: not a journal line"]
    assert (tmp_path / "restored" / "sessions" / "2026-11-22" / "fine").is_dir()
