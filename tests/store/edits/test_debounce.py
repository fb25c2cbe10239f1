"""What has settled: a write of the daemon that a user undoes at once is a change, though the content is as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kheish.store.edits.debounce import Settling

FILE = "routes/x.yaml"


@pytest.fixture
def settling(tmp_path: Path) -> Settling:
    (tmp_path / "routes").mkdir()
    made = Settling(tmp_path, ["routes"], lambda path: path.startswith("routes/"), quiet=1.0)
    made.baseline()
    return made


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("seen", ["event", "scan"])
def test_a_new_file_of_the_daemon_that_is_removed_at_once_is_reported(
    settling: Settling, tmp_path: Path, seen: str
) -> None:
    settling.expect(FILE, digest("new"), 0.0)
    (tmp_path / FILE).write_text("new")
    (tmp_path / FILE).unlink()
    if seen == "event":
        settling.hint(FILE, "deleted", 0.1)
    else:
        settling.scan(0.1)

    assert settling.take(2.0) == {FILE}


def test_a_write_of_the_daemon_that_is_undone_at_once_is_reported(settling: Settling, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("old")
    settling.scan(0.0)
    assert settling.take(2.0) == {FILE}

    settling.expect(FILE, digest("new"), 3.0)
    (tmp_path / FILE).write_text("new")
    (tmp_path / FILE).write_text("old")
    settling.hint(FILE, "closed", 3.1)

    assert settling.take(5.0) == {FILE}


def test_a_write_of_the_daemon_is_not_reported(settling: Settling, tmp_path: Path) -> None:
    settling.expect(FILE, digest("new"), 0.0)
    (tmp_path / FILE).write_text("new")
    settling.scan(0.1)
    assert settling.take(2.0) == frozenset()

    settling.expect(FILE, None, 3.0)
    (tmp_path / FILE).unlink()
    settling.hint(FILE, "deleted", 3.1)
    assert settling.take(5.0) == frozenset()
    settling.scan(6.0)
    assert settling.wait(6.0) is None
