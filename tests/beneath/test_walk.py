"""No path leads out of the workspace."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kheish.beneath import Door, files, kernel, walk
from kheish.beneath.walk import Intent
from kheish.errors import NotAFolder, NotBeneath


def read(root: Path, path: str) -> bytes:
    return files.read(Door(root), path, 1000)


def write(root: Path, path: str, content: bytes = b"new") -> str:
    with walk.place(Door(root), path, Intent.CREATE) as here:
        files.replace(here, content, key="k")
        return here.path


@pytest.fixture(autouse=True, params=["openat2", "openat"])
def _kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel with the call, and one without."""
    if request.param == "openat":
        monkeypatch.setattr(kernel, "_openat2", lambda *_: None)
    elif not kernel.is_there():
        pytest.skip("this kernel has no openat2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(root: Path) -> Path:
    secret = root.parent / "secret.txt"
    secret.write_text("secret")
    return secret


def test_paths_inside_are_opened_however_they_are_written(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "x.txt").write_text("x")
    (root / "inner").symlink_to("a/b")
    (root / "absolute").symlink_to(root / "a")

    for path in ("a/x.txt", "./a//x.txt", "a/b/../x.txt", f"{root}/a/x.txt", "inner/../x.txt", "absolute/x.txt"):
        with files.open_file(Door(root), path) as (file, where):
            assert (file.read(), where) == (b"x", "a/x.txt"), path


@pytest.mark.parametrize(
    "path", ["../secret.txt", "a/../../secret.txt", "~/x", "/etc/passwd", "", ".", "a\0b", "\ud800"]
)
def test_paths_that_are_no_file_inside_are_refused(root: Path, outside: Path, path: str) -> None:
    (root / "a").mkdir()
    with pytest.raises(NotBeneath):
        read(root, path)
    with pytest.raises(NotBeneath):
        read(root, str(outside))
    with pytest.raises(NotBeneath, match="outside the workspace"):
        write(root, str(root) + "-other/x")


def test_links_that_lead_out_are_neither_read_nor_written_through(root: Path, outside: Path) -> None:
    (root / "file").symlink_to(outside)
    (root / "relative").symlink_to("../secret.txt")
    (root / "folder").symlink_to(root.parent)
    (root / "chain").symlink_to("folder")
    (root / "circle").symlink_to("circle")

    for path in ("file", "relative", "folder/secret.txt", "chain/secret.txt", "circle"):
        with pytest.raises(NotBeneath):
            read(root, path)
        with pytest.raises(NotBeneath):
            write(root, path)
    assert outside.read_text() == "secret"
    assert sorted(entry.name for entry in root.parent.iterdir()) == ["secret.txt", "workspace"]


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(root: Path) -> None:
    os.mkfifo(root / "fifo")
    (root / "device").symlink_to("/dev/zero")
    (root / "folder").mkdir()

    with pytest.raises(NotBeneath, match="is a FIFO"):
        read(root, "fifo")
    with pytest.raises(NotBeneath, match="leads out"):
        read(root, "device")
    with pytest.raises(NotBeneath, match="is a folder, not a file; use list_files"):
        read(root, "folder")
    with pytest.raises(NotBeneath, match="fifo is not a folder"):
        read(root, "fifo/x")
    with pytest.raises(NotAFolder), files.open_folder(Door(root), "fifo"):
        pass


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", ".GIT/config", "sub/.git", "x/../.git/config", "g/config"])
def test_git_internals_are_not_written(root: Path, path: str) -> None:
    (root / ".git" / "hooks").mkdir(parents=True)
    (root / ".git" / "config").write_text("[core]")
    (root / "g").symlink_to(".git")

    with pytest.raises(NotBeneath, match="belongs to git"):
        write(root, path)
    assert read(root, "g/config") == b"[core]"
    assert write(root, ".gitignore") == ".gitignore"


def test_replace_keeps_the_mode_and_leaves_no_temporary_file(root: Path) -> None:
    script = root / "run.sh"
    script.write_text("old")
    script.chmod(0o750)

    assert write(root, "run.sh") == "run.sh"
    assert write(root, "new/folder/x") == "new/folder/x"

    assert (script.read_text(), script.stat().st_mode & 0o777) == ("new", 0o750)
    assert sorted(entry.name for entry in root.rglob("*")) == ["folder", "new", "run.sh", "x"]


def test_a_folder_that_turns_into_a_link_meanwhile_leads_nowhere_else(root: Path, outside: Path) -> None:
    (root / "real").mkdir()
    (root / "real" / "secret.txt").write_text("fine")
    (root / "out").symlink_to(root.parent)
    (root / "turning").symlink_to("real")
    over = threading.Event()

    def turn() -> None:
        while not over.is_set():
            for target in ("out", "real"):
                (root / "next").symlink_to(target)
                (root / "next").replace(root / "turning")

    thread = threading.Thread(target=turn)
    thread.start()
    seen = set()
    for _ in range(500):
        try:
            seen.add(read(root, "turning/secret.txt"))
        except NotBeneath as error:
            seen.add(str(error)[-20:])
    over.set()
    thread.join()
    assert b"secret" not in seen
    assert b"fine" in seen


def test_canonical_names_where_a_path_leads(root: Path) -> None:
    (root / "secrets").mkdir()
    (root / "s").symlink_to("secrets")

    assert walk.resolved(Door(root), "s/key") == "secrets/key"
    assert walk.resolved(Door(root), f"{root}/s/new/deep.txt") == "secrets/new/deep.txt"
    assert walk.resolved(Door(root), "s/..") == "."
    with pytest.raises(NotBeneath):
        walk.resolved(Door(root), "missing/../../x")


def test_a_missing_file_is_named_with_its_neighbours(root: Path) -> None:
    (root / "readme.md").write_text("")
    with pytest.raises(NotBeneath, match=r"README.md: does not exist. Similar names .*: readme.md"):
        read(root, "README.md")
