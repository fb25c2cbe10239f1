"""The way of a workspace to another machine and back: two depots, a pack between them, and the door at the end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kheish.beneath import Door
from kheish.errors import KheishError
from kheish.runtime.workers import returning
from kheish.runtime.workers.depot import Depot


class Pair:
    """A workspace here, and its copy on another machine (another folder)."""

    def __init__(self, root: Path) -> None:
        self.here, self.there = root / "here", root / "there"
        self.here.mkdir()
        self.near, self.far = Depot(root / "near.git"), Depot(root / "far.git")
        self.near.ensure()
        self.far.ensure()
        self.base: str | None = None

    def push(self) -> str:
        """Bring the workspace there."""
        commit = self.near.snapshot(self.here, self.base)
        if not self.far.has(commit):
            carry(self.near, self.far, commit, self.base)
        self.far.checkout(commit, self.there)
        self.base = commit
        return commit

    def pull(self) -> returning.Returned:
        """Bring the result back."""
        assert self.base is not None
        base, result = self.base, self.far.snapshot(self.there, self.base)
        carry(self.far, self.near, result, base)
        self.base = self.near.commit(self.near.tree_of(result), base)
        return returning.apply(self.near, Door(self.here), base, self.base)


def carry(source: Depot, target: Depot, commit: str, known: str | None) -> None:
    pack = source.pack(commit, known)
    shutil.move(pack, arriving := target.incoming())
    target.take(arriving)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def files(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"-> {os.readlink(path)}"
        elif path.is_file():
            run = "x " if os.access(path, os.X_OK) else ""
            found[str(path.relative_to(folder))] = run + path.read_bytes().decode("latin-1")
    return found


def test_a_workspace_goes_and_its_result_comes_back(pair: Pair) -> None:
    (pair.here / "src").mkdir()
    for name, text in {"a.txt": "a\r\n", "src/b.py": "b\n", "gone.txt": "x", "ütf\tname": "u", "f": "file"}.items():
        (pair.here / name).write_bytes(text.encode())
    (pair.here / ".gitignore").write_text("*.log\n")
    (pair.here / "own.log").write_text("secret")
    (pair.here / "link").symlink_to("src/b.py")
    pair.push()
    expected = files(pair.here)
    del expected["own.log"]
    assert files(pair.there) == expected, "what is ignored stays here"
    (pair.there / "gone.txt").unlink()
    (pair.there / "f").unlink()
    (pair.there / "f").mkdir()
    (pair.there / "f/inner").write_text("now a folder")
    (pair.there / "src/b.py").write_text("changed\n")
    (pair.there / "src/b.py").chmod(0o755)
    (pair.there / "new/deep").mkdir(parents=True)
    (pair.there / "new/deep/c").write_bytes(b"\0\xff")
    (pair.there / "other").symlink_to("new/deep")
    done = pair.pull()
    assert not done.conflicts and not done.refused
    assert files(pair.here) == {**files(pair.there), "own.log": "secret"}
    assert pair.pull().written == [], "nothing is due twice"


def test_later_pushes_bring_only_what_changed(pair: Pair) -> None:
    for number in range(50):
        (pair.here / f"f{number}").write_text("x" * 1000 + str(number))
    first = pair.push()
    (pair.here / "f7").write_text("new")
    second = pair.near.snapshot(pair.here, first)
    pack = pair.near.pack(second, first)
    assert pack.stat().st_size < 4000 and second != first
    assert pair.near.snapshot(pair.here, second) == second, "the same files are the same commit"


def test_what_changed_on_both_sides_stays_and_is_reported(pair: Pair) -> None:
    for name in ("both", "mine", "theirs"):
        (pair.here / name).write_text("old")
    pair.push()
    (pair.here / "both").write_text("here")
    (pair.here / "mine").write_text("here")
    (pair.there / "both").write_text("there")
    (pair.there / "theirs").write_text("there")
    done = pair.pull()
    assert (done.conflicts, done.written) == (["both"], ["theirs"])
    assert files(pair.here) == {"both": "here", "mine": "here", "theirs": "there"}


def test_files_of_an_ended_run_do_not_stay_there(pair: Pair) -> None:
    (pair.here / "a").write_text("a")
    (pair.here / ".gitignore").write_text("build/\n")
    pair.push()
    (pair.there / "left").write_text("not returned")
    (pair.there / "build").mkdir()
    (pair.there / "build/cache").write_text("kept for the next run")
    pair.push()
    assert sorted(files(pair.there)) == [".gitignore", "a", "build/cache"]


def test_a_damaged_pack_changes_nothing(pair: Pair) -> None:
    (pair.here / "a").write_text("a" * 5000)
    commit = pair.near.snapshot(pair.here, None)
    pack = pair.near.pack(commit, None)
    raw = bytearray(pack.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    arriving = pair.far.incoming()
    arriving.write_bytes(bytes(raw))
    with pytest.raises(KheishError):
        pair.far.take(arriving)
    assert not pair.far.has(commit) and not list((pair.far.path / "incoming").iterdir())


def test_settings_of_the_folders_own_repository_have_no_effect(pair: Pair, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    attack = f"touch {ran}; cat"
    (pair.here / ".git/hooks").mkdir(parents=True)
    for name in ("post-index-change", "pre-commit", "post-checkout", "reference-transaction"):
        (pair.here / f".git/hooks/{name}").write_text(f"#!/bin/sh\n{attack}\n")
        (pair.here / f".git/hooks/{name}").chmod(0o755)
    (pair.here / ".git/config").write_text(
        f'[filter "x"]\n\tclean = "{attack}"\n\tsmudge = "{attack}"\n[core]\n\tfsmonitor = "{attack}"\n'
    )
    (pair.here / ".gitattributes").write_text("* filter=x text eol=crlf ident\n")
    (pair.here / "a").write_text("line\n$Id$\n")
    pair.push()
    assert (pair.there / "a").read_bytes() == b"line\n$Id$\n" and not ran.exists()
    assert not (pair.there / ".git").exists()
