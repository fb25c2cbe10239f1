"""Packing: what it keeps, what it sweeps, how long it may take, and how small git is afterwards."""

from __future__ import annotations

import os
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from bench import generate
from kheish.errors import Unavailable
from kheish.store.git import maintenance
from tests.store.roots import git, make
from tests.support.daemon import until

OLD = 15 * 24 * 3600.0


@pytest.mark.parametrize("whole", [True, False])
def test_what_no_ref_holds_is_kept_for_two_weeks_though_it_was_packed(tmp_path: Path, whole: bool) -> None:
    root = make(tmp_path)
    (root / "routes" / "note.txt").write_text("left behind by an amend")
    git(root, "add", "routes/note.txt")
    git(root, "commit", "-q", "-m", "regretted")
    regretted = git(root, "rev-parse", "HEAD")
    git(root, "repack", "-a", "-d", "-q")
    git(root, "reset", "-q", "--hard", "HEAD~1")
    git(root, "reflog", "expire", "--expire=now", "--all")

    maintenance.run(root, whole=whole)

    assert git(root, "show", f"{regretted}:routes/note.txt") == "left behind by an amend"
    for path in (root / ".git" / "objects").rglob("*"):
        os.utime(path, (time.time() - OLD, time.time() - OLD))
    assert maintenance.run(root, whole=True)["after"]["packs"] == 1
    assert git(root, "fsck", "--full", "--no-reflogs", "--unreachable") == ""


@pytest.mark.demand(12)
def test_leftovers_of_killed_processes_go_and_fresh_ones_stay(tmp_path: Path) -> None:
    root = make(tmp_path)
    objects = root / ".git" / "objects"
    (objects / "ab").mkdir(exist_ok=True)
    names = ("ab/tmp_obj_x1", "pack/tmp_pack_x2", "tmp_object_git2_x3", "pack/pack_git2_x4")
    for name in names:
        for age, suffix in ((7200.0, "old"), (60.0, "new")):
            (objects / f"{name}{suffix}").write_bytes(b"half written")
            os.utime(objects / f"{name}{suffix}", (time.time() - age, time.time() - age))

    swept = maintenance.sweep(root)

    assert swept == len(names)
    assert [(objects / f"{name}new").exists() for name in names] == [True] * len(names)


def test_a_git_that_takes_too_long_is_ended_and_said(tmp_path: Path) -> None:
    root = make(tmp_path)
    hook = tmp_path / "bin" / "git"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\nsleep 60 & echo $! > {tmp_path}/packs\nwait\n")
    hook.chmod(0o755)
    began = time.monotonic()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{hook.parent}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(Unavailable, match="longer than"):
            maintenance.run(root, timeout=1.0)

    assert time.monotonic() - began < 30
    child = Path(f"/proc/{(tmp_path / 'packs').read_text().strip()}/status")
    until(lambda: not child.exists() or "State:\tZ" in child.read_text(), what="what it had started is ended too")
    assert maintenance.run(root)["after"]["loose"] == 0


@pytest.mark.demand(12)
def test_git_is_no_larger_than_the_compressed_journals_and_half(tmp_path: Path) -> None:
    root, entries = generate.generate(tmp_path, 200)
    _loosen(root)
    base = int(git(root, "cat-file", "-s", "HEAD:README.md"))
    assert maintenance.size(root)["loose"] > 300

    maintenance.run(root, whole=True)

    packs = sum(path.stat().st_size for path in (root / ".git" / "objects").rglob("*.pack"))
    journals = [zlib.compress(path.read_bytes()) for path in root.glob("sessions/*/*/journal/*.jsonl")]
    assert entries > 2000
    assert packs <= 1.5 * sum(map(len, journals)) + 10 * base, "README, schemas and the templates are in it too"
    assert git(root, "fsck", "--full") == ""


def _loosen(root: Path) -> None:
    """Objects as the daemon writes them: one file each."""
    for pack in (root / ".git" / "objects" / "pack").glob("*.pack"):
        aside = root.parent / pack.name
        pack.rename(aside)
        for rest in pack.parent.glob(f"{pack.stem}.*"):
            rest.unlink()
        with aside.open("rb") as file:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=root, stdin=file, check=True)
