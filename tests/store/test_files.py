from __future__ import annotations

from pathlib import Path

import pytest

from kheish.errors import Invalid
from kheish.store import files
from tests.store import roots


def test_a_file_is_replaced_in_one_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "a/b/c.yaml"

    files.atomic_write(target, b"one", fsync=True)
    before = target.stat().st_ino
    stat = files.atomic_write(target, b"two", fsync=True, mode=0o600)

    assert target.read_bytes() == b"two"
    assert stat.st_ino == target.stat().st_ino != before
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["c.yaml"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "full").mkdir(parents=True)

    with pytest.raises(OSError):
        files.atomic_write(target, b"x", fsync=False)

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", ".git/config", "a/.GIT/x", "a\0b", "link/x", "ROUTES/x"],
)
def test_what_leaves_the_root_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "link").symlink_to("/")

    with pytest.raises(Invalid):
        files.inside(tmp_path, path)

    assert files.inside(tmp_path, "routes/a.yaml") == tmp_path / "routes/a.yaml"


def test_a_full_folder_goes_on_in_a_sibling(tmp_path: Path) -> None:
    folders = files.Folders(tmp_path, limit=2)
    places = [folders.place("sessions/2026-11-22") for _ in range(5)]
    day = "sessions/2026-11-22"
    assert places == [day, day, f"{day}.1", f"{day}.1", f"{day}.2"]

    for number, place in enumerate(places):
        (tmp_path / place / f"s{number}").mkdir(parents=True)

    again = files.Folders(tmp_path, limit=2)  # a restart counts what is there
    assert [again.place(day), again.place(day)] == [f"{day}.2", f"{day}.3"]


def test_the_blob_id_is_gits(tmp_path: Path) -> None:
    root = roots.make(tmp_path)

    assert files.blob_id((root / "kheish.yaml").read_bytes()) == roots.git(root, "rev-parse", "HEAD:kheish.yaml")
    assert files.free_bytes(root) > 0
