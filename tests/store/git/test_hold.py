from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kheish.store.git import hold
from tests.store import roots
from tests.store.git.test_cuts import committed


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("index.lock", "rm .git/index.lock"),
        ("refs/heads/main.lock", "main.lock"),
        ("MERGE_HEAD", "A merge is under way"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
        ("rebase-merge", "git rebase --quit"),
        ("sequencer", "sequence"),
    ],
)
def test_what_git_leaves_while_it_works_holds_the_daemon(tmp_path: Path, name: str, says: str) -> None:
    root = roots.make(tmp_path)
    (root / ".git" / name).touch()

    answer = committed(root, roots.cut(root, "a", 1))

    assert says in answer["held"]
    assert not (root / "sessions/2026-11-22/a/session.yaml").exists()
    (root / ".git" / name).unlink()
    assert "commit" in committed(root, roots.cut(root, "a", 1))


@pytest.mark.parametrize("name", [".gitattributes", ".gitignore", ".mailmap", ".git/info/exclude", ".git/HEAD"])
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse"])
def test_files_that_git_would_read_for_ever_hold_the_daemon(tmp_path: Path, name: str, kind: str) -> None:
    root = roots.make(tmp_path)
    (root / name).unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(root / name)
        case "device":
            (root / name).symlink_to("/dev/zero")
        case _:
            (root / name).touch()
            os.truncate(root / name, 10 * 1024**3)

    reason = hold.check(root)

    assert reason is not None and reason.startswith(name) and reason.endswith(f"rm {name}")


def test_another_branch_and_a_detached_head_hold(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    roots.git(root, "switch", "-qc", "side")
    assert "branch side is checked out" in str(hold.check(root))

    roots.git(root, "switch", "-q", "--detach")
    assert "detached" in str(hold.check(root))

    roots.git(root, "switch", "-q", "main")
    assert hold.check(root) is None


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc")
def test_a_commit_with_its_editor_open_holds_and_a_log_does_not(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    editor = f"{sys.executable} -c 'import sys; print(0, flush=True); sys.stdin.read()'"
    command = ["git", "-c", "core.editor=" + editor, "commit", "--allow-empty"]
    env = {**os.environ, **roots.PERSON}
    with subprocess.Popen(command, cwd=root, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()  # the editor is open

        assert hold.writer(root, family=process.pid) is None
        assert hold.writer(root, family=1 << 30) == f"git commit is at work here (process {process.pid})."
        assert hold.writer(tmp_path / "other", family=1 << 30) is None
        process.stdin.close()

    assert hold.check(root, family=1 << 30) is None


def test_reading_commands_are_told_from_writing_ones() -> None:
    assert hold._command(["git", "-C", "/x", "stash", "list"]) is None
    assert hold._command(["git", "-c", "a=b", "--no-pager", "stash"]) == "stash"
    assert hold._command(["git", "log", "-p"]) is None


def test_our_next_lock_is_not_taken_for_one_without_a_note(tmp_path: Path) -> None:
    """Between two commits the first note is gone, and the second lock is there a moment later."""
    root = roots.make(tmp_path)
    path = root / ".git" / "index.lock"
    path.touch()

    class Note:
        looks = 0

        def exists(self) -> bool:
            Note.looks += 1
            if Note.looks == 1:  # as if the first write had just ended, and the second had begun after this look
                path.with_suffix(".next").touch()
                path.with_suffix(".next").replace(path)
                return False
            return True

    assert not hold._is_foreign(path, Note())  # type: ignore[arg-type]
    assert Note.looks == 2
    path.unlink()
    assert not hold._is_foreign(path, path.with_suffix(".note"))
