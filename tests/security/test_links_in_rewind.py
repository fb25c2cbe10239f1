"""A folder of the state root that is a link to somewhere else while a rewind is accepted: nothing there is read, moved
away, removed or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.store import lock
from kheish.store.git import cuts, rewind
from kheish.store.git.repo import Repo
from tests.store.roots import cut, git, make

SESSION = "sessions/2026-11-22/s"


class Swapping(Repo):
    """Somebody swaps the folder for a link when the content of a file in it is asked for."""

    swap: tuple[Path, Path] | None = None

    def content(self, blob: str) -> bytes:
        found = super().content(blob)
        if self.swap is not None:
            (folder, outside), self.swap = self.swap, None
            folder.rename(folder.with_name("aside"))
            folder.symlink_to(outside)
        return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Moved back by one commit of the daemon's."""
    made = make(tmp_path)
    for entries in (3, 6):
        cuts.commit(Repo(made), cut(made, "s", entries))
    git(made, "reset", "-q", "--hard", "HEAD~1")
    assert rewind.find(Repo(made)) is not None
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A person's folder, with files of the same names."""
    folder = tmp_path / "outside"
    (folder / "journal").mkdir(parents=True)
    for name in ("session.yaml", "journal/000001.jsonl", "mine.txt"):
        (folder / name).write_text("a person's own\n")
    return folder


def untouched(outside: Path) -> bool:
    files = {str(path.relative_to(outside)): path.read_text() for path in outside.rglob("*") if path.is_file()}
    return files == dict.fromkeys(("session.yaml", "journal/000001.jsonl", "mine.txt"), "a person's own\n")


@pytest.mark.parametrize("place", [SESSION, "sessions/2026-11-22", "sessions", f"{SESSION}/journal"])
def test_a_folder_that_is_a_link(root: Path, outside: Path, place: str) -> None:
    inner = SESSION.removeprefix(place).strip("/") if SESSION.startswith(place) else ""
    (root / place).rename(root.parent / "was")
    if place == f"{SESSION}/journal":
        (root / place).symlink_to(outside / "journal")
    else:
        if inner:
            (root.parent / "way" / inner).parent.mkdir(parents=True)
            (root.parent / "way" / inner).symlink_to(outside)
        (root / place).symlink_to(root.parent / "way" if inner else outside)
    accepted(root, Repo(root), outside)


def test_a_file_that_is_a_link(root: Path, outside: Path) -> None:
    (root / SESSION / "session.yaml").unlink()
    (root / SESSION / "session.yaml").symlink_to(outside / "session.yaml")
    accepted(root, Repo(root), outside)


def test_a_folder_that_becomes_a_link_meanwhile(root: Path, outside: Path) -> None:
    (root / SESSION / "session.yaml").write_text("changed: true\n")
    repo = Swapping(root)
    repo.swap = root / SESSION, outside
    accepted(root, repo, outside)


def accepted(root: Path, repo: Repo, outside: Path) -> None:
    answer = rewind.accept(repo)
    assert "kept" in answer and untouched(outside)
    assert git(root, "status", "--porcelain", "--", SESSION) == ""
    assert not (root / SESSION).is_symlink() and (root / SESSION / "session.yaml").read_text().startswith("session_id")
    kept = [path for path in (lock.private(root) / "rewound").rglob("*") if path.is_file() and not path.is_symlink()]
    assert "a person's own" not in "".join(path.read_text() for path in kept)
