"""The door to files of the state root: what is not a plain file is refused at once."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kheish.errors import FileRefused
from kheish.store import door

SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "pipe"),
    "folder": (Path.mkdir, "folder"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "link"),
    "link that dangles": (lambda path: path.symlink_to("nowhere"), "link"),
    "link to itself": (lambda path: path.symlink_to(path.name), "link"),
    "huge and sparse": (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 20 * 1024**3), "larger"),
}  # fmt: skip


@pytest.mark.parametrize("what", SPECIAL)
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, what: str) -> None:
    make, reason = SPECIAL[what]
    make(tmp_path / "x")

    began = time.monotonic()
    with pytest.raises(FileRefused, match=reason):
        door.read(tmp_path, "x")

    assert time.monotonic() - began < 10


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(tmp_path / "s"))
        with pytest.raises(FileRefused, match="socket"):
            door.read(tmp_path, "s")


def test_links_on_the_way_and_names_that_leave_are_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x").write_text("x")
    (tmp_path / "link").symlink_to("there")

    assert door.read(tmp_path, "there/x") == b"x"
    for path in ("link/x", "there/../there/x", "./there/x"):
        with pytest.raises(FileRefused):
            door.read(tmp_path, path)
    with pytest.raises(FileNotFoundError):
        door.read(tmp_path, "there/y")


def test_the_bound_is_exact(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 1000)

    assert len(door.read(tmp_path, "x", most=1000)) == 1000
    assert len(door.begin(tmp_path, "x", most=99)) == 100
    with pytest.raises(FileRefused, match="larger"):
        door.read(tmp_path, "x", most=999)


def test_folders_deeper_than_python_recurses_are_walked(tmp_path: Path) -> None:
    folder, here = "f", Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1500):
            os.mkdir("f")
            os.chdir("f")
        Path("x").touch()
    finally:
        os.chdir(here)

    try:
        assert [path.rpartition("/")[2] for path, _ in door.walk(tmp_path, folder)] == ["x"]
    finally:  # pytest itself, which cleans up later, would recurse
        subprocess.run(["rm", "-rf", str(tmp_path / folder)], check=True)
