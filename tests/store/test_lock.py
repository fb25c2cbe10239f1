from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kheish.errors import LockHeld
from kheish.store import lock
from tests.store import roots


def test_a_second_daemon_is_told_who_holds_the_root(tmp_path: Path) -> None:
    root = roots.make(tmp_path)

    with lock.RootLock(root), pytest.raises(LockHeld) as held, lock.RootLock(root):
        pass

    assert held.value.extra["pid"] == os.getpid() and f"pid {os.getpid()}, since 20" in held.value.detail
    with lock.RootLock(root):
        pass


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    root = roots.make(tmp_path)

    with lock.RootLock(root):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        with lock.RootLock(root):
            assert child.poll() is None
    finally:
        child.communicate(b"\n")


def test_exactly_the_noted_locks_are_swept(tmp_path: Path) -> None:
    root = roots.make(tmp_path)
    theirs, ours = root / ".git/HEAD.lock", root / ".git/refs/heads/main.lock"
    theirs.touch()
    script = (
        "import os, pathlib, sys; from kheish.store import lock; root = pathlib.Path(sys.argv[1])\n"
        "with lock.noted(root, 'refs/heads/main.lock', 'HEAD.lock', 'index.lock'):\n"
        "    (root / '.git/refs/heads/main.lock').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, os.fspath(root)], check=False)
    assert ours.exists()

    assert lock.sweep(root) == ["refs/heads/main.lock"]

    assert theirs.exists() and not ours.exists()
    assert list((root / ".git/kheish/locks").iterdir()) == []
