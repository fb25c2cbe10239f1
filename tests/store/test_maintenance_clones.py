"""Packing while others clone by path."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

from kheish.store.git import maintenance
from tests.store import roots


def with_objects(tmp_path: Path, count: int) -> Path:
    """A root with so many loose objects, all of them in a commit."""
    root = roots.make(tmp_path)
    for number in range(count):
        (root / "playbooks").mkdir(exist_ok=True)
        (root / "playbooks" / f"{number}.md").write_text(f"{number}\n")
    roots.git(root, "add", "-A")
    roots.git(root, "commit", "-qm", "many")
    return root


def test_what_is_packed_is_removed_and_all_of_it_is_there(tmp_path: Path) -> None:
    root = with_objects(tmp_path, 600)
    before = roots.git(root, "rev-list", "--objects", "--all").split()

    found = maintenance.run(root)

    assert found["before"]["loose"] > 300 and found["after"]["loose"] == 0 and found["after"]["packs"] == 1
    assert not list((root / ".git" / "objects").glob("[0-9a-f][0-9a-f]"))
    assert roots.git(root, "rev-list", "--objects", "--all").split() == before
    assert roots.git(root, "fsck", "--full") == ""


def test_nobody_who_clones_by_path_loses_an_object_under_his_hands(tmp_path: Path) -> None:
    root = with_objects(tmp_path, 1500)
    failed: list[str] = []
    made = threading.Event()

    def clone() -> None:
        for number in range(12):
            target = tmp_path / f"clone-{number}"
            words = ["git", "clone", "-q", "--no-hardlinks", "--no-checkout", str(root), str(target)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            failed.extend([done.stderr] if done.returncode else [])
            made.set()

    cloning = threading.Thread(target=clone)
    cloning.start()
    made.wait()
    began = time.monotonic()
    maintenance.run(root)
    cloning.join()

    assert failed == []
    assert time.monotonic() - began < 30
    assert not list((root / ".git" / "objects").glob("[0-9a-f][0-9a-f]"))
