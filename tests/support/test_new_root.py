"""A copied state root is what `kheish init` makes, but for what is of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support import forking, new_root
from tests.support.daemon import git

#: files that differ between any two roots, by content
OWN = {"format.yaml", ".kheish/token", ".git/index", ".git/logs/HEAD", ".git/logs/refs/heads/main"}


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return modes and contents of all files and folders, but for git's objects and refs."""
    paths = {os.fspath(path.relative_to(root)): path for path in root.rglob("*")}
    return {
        name: (path.stat().st_mode, path.read_bytes() if path.is_file() and name not in OWN else b"")
        for name, path in paths.items()
        if not name.startswith((".git/objects/", ".git/refs/")) and name != ".git/COMMIT_EDITMSG"
    }


def test_a_copy_is_what_init_makes(tmp_path: Path) -> None:
    made, copies = tmp_path / "made", [tmp_path / "copy", tmp_path / "another"]
    env = forking.environment(tmp_path / "home")
    done = forking.run(("init", os.fspath(made)), env=env, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    for copy in copies:
        new_root.copy(copy)
        assert contents(copy) == contents(made)

    ids = {(root / name).read_text() for root in (made, *copies) for name in ("format.yaml", ".kheish/token")}
    assert len(ids) == 6
    shown = {git(root, "log", "--format=%an %ae %cn %ce %s", "refs/kheish/last") for root in (made, *copies)}
    assert len(shown) == 1
    for root in (made, *copies):
        assert git(root, "status", "--porcelain") == ""
        fsck = subprocess.run(["git", "fsck", "--full"], cwd=root, capture_output=True, text=True, check=True)
        assert fsck.stdout == "", "dangling objects"
    assert len({git(root, "ls-tree", "-r", "HEAD", "--", "playbooks", "schemas") for root in (made, *copies)}) == 1
