"""Trees that no `git add` makes, pushed to the backup's remote: links, submodules, names of git's own folder, and trees
that are small until somebody lists them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kheish.store.git import backup
from kheish.store.git.repo import Repo
from tests.store.git.test_backup import Clones
from tests.store.roots import git

FILE, PROGRAM, LINK, MODULE, FOLDER = "100644", "100755", "120000", "160000", "040000"
NAMES = (
    ".git", ".GIT", ".Git", ".git.", ".git ", "git~1", "GIT~1", ".gi\u200ct", ".g\u200dit", ".git\u200b",
    ".git::$INDEX_ALLOCATION", ".gitattributes", ".gitmodules", ".gitignore", "..", ".", "a\\..\\b", "a\nb",
    "\x1b[2Jx", "\u202eevil", "x" * 300,
)  # fmt: skip
#: they mean something at the top only
AT_THE_TOP = (".KHEISH", ".kheish", "Sessions", "JOURNALS")
PLACES = [*((name, depth) for name in NAMES for depth in (0, 1)), *((name, 0) for name in AT_THE_TOP)]


@pytest.fixture
def clones(tmp_path: Path) -> Clones:
    made = Clones(tmp_path)
    (made.root / ".kheish").mkdir(exist_ok=True)
    (made.root / ".kheish/token").write_text("the daemon's own")
    (made.root / "sessions").mkdir(exist_ok=True)
    (made.root / "journals").mkdir(exist_ok=True)
    return made


def tree(folder: Path, *entries: tuple[str, str, str], base: str | None = None) -> str:
    """A tree of `(mode, name, object)`s, with what `base` has; git makes one of any name."""
    old = git(folder, "ls-tree", "-z", base).split("\0") if base else []
    kinds = {MODULE: "commit", FOLDER: "tree"}
    new = [f"{mode} {kinds.get(mode, 'blob')} {oid}\t{name}" for mode, name, oid in entries]
    names = {name for _, name, _ in entries}
    kept = [line for line in old if line and line.partition("\t")[2] not in names]
    done = subprocess.run(
        ["git", "mktree", "-z", "--missing"], cwd=folder, input="\0".join([*kept, *new, ""]).encode(),
        capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.decode().strip()


def blob(folder: Path, text: bytes) -> str:
    done = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=folder, input=text, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def pushed(clones: Clones, root_tree: str) -> backup.Plan:
    """Somebody has pushed a commit of this tree."""
    commit = git(clones.other, "commit-tree", root_tree, "-p", "HEAD", "-m", "evil")
    git(clones.other, "update-ref", "refs/heads/main", commit)
    git(clones.root, "fetch", "-q", "origin")
    return clones.plan()


def everything(root: Path) -> dict[str, bytes]:
    inside = (path for path in root.rglob("*") if ".git/objects" not in str(path) and path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in inside}


@pytest.mark.parametrize(("name", "depth"), PLACES, ids=ascii)
def test_a_name_that_leads_elsewhere_or_hides_what_it_is(clones: Clones, name: str, depth: int) -> None:
    file = blob(clones.other, b"[core]\n\tfsmonitor = touch /tmp/pwned\n")
    inner = tree(clones.other, (FILE, "config", file), (FILE, "token", file))
    mine = [(FOLDER, name, inner)] if depth == 0 else [(FOLDER, "routes", tree(clones.other, (FILE, name, file)))]
    found = pushed(clones, tree(clones.other, *mine, base="HEAD"))
    before = everything(clones.root)
    assert found.verdict == "diverged" and not found.changes
    assert found.why.isprintable()  # nothing that a terminal obeys
    answer, _ = backup.join(Repo(clones.root), theirs="origin/main", known=None, expected={}, remote="origin")
    assert answer == {"again": True} and everything(clones.root) == before


@pytest.mark.parametrize("mode", [LINK, MODULE])
def test_a_link_or_a_submodule_in_the_place_of_a_file_or_a_folder(clones: Clones, mode: str) -> None:
    target = blob(clones.other, b"/etc") if mode == LINK else git(clones.other, "rev-parse", "HEAD")
    for name in ("new", "notes.md", "routes"):
        assert pushed(clones, tree(clones.other, (mode, name, target), base="HEAD")).verdict == "diverged"
        git(clones.other, "update-ref", "refs/heads/main", "HEAD~1")


def test_a_program_waits_for_a_user(clones: Clones) -> None:
    entry = (PROGRAM, "run.sh", blob(clones.other, b"#!/bin/sh\n"))
    found = pushed(clones, tree(clones.other, entry, base="HEAD"))
    assert found.verdict == "diverged" and "run.sh (executable)" in found.why


def test_a_tree_that_names_another_ten_times_and_so_on(clones: Clones) -> None:
    bomb = tree(clones.other, *((FILE, f"f{i}", blob(clones.other, b"")) for i in range(10)))
    for _ in range(9):  # ten thousand million files
        bomb = tree(clones.other, *((FOLDER, f"d{i}", bomb) for i in range(10)))
    assert "more than 50000 files" in pushed(clones, tree(clones.other, (FOLDER, "deep", bomb), base="HEAD")).why


def test_files_that_are_small_only_while_they_are_packed(clones: Clones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "MOST_BYTES", 1_000_000)
    zeros = blob(clones.other, bytes(400_000))
    entries = [(FILE, f"zeros{i}", zeros) for i in range(3)]
    assert pushed(clones, tree(clones.other, *entries, base="HEAD")).why.startswith("It brings more than")
