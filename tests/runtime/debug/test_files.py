"""Artifacts on disk and their redaction."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kheish.auth import redaction
from kheish.errors import NotFound
from kheish.runtime.debug import cleaning, files

SCRUB = redaction.scrubber({"key": "correct-horse-battery-9"})


def write(root: Path, run: str, name: str, content: bytes, *, session: str = "s") -> None:
    card = files.card_of(name, session, content, len(content), False, encrypted=False, at="2026-11-22T10:00:00Z")
    files.write(root, run, card, content)


def test_the_oldest_artifacts_go_beyond_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RUN_ARTIFACTS", 3)
    for number in range(5):
        write(tmp_path, "run_1", f"a-{number}", b"x")
        os.utime(tmp_path / files.FOLDER / "run_1" / f"a-{number}", (number, number))

    assert [card.artifact_id for card in files.listing(tmp_path, "run_1")] == ["a-2", "a-3", "a-4"]


def test_only_names_of_artifacts_are_read(tmp_path: Path) -> None:
    write(tmp_path, "run_1", "one", b"line one\nline two")
    (tmp_path / "secret").write_text("{}\nx")

    assert files.read(tmp_path, "run_1", "one")[1] == b"line one\nline two"
    for run, name in (("run_1", "../../../secret"), ("../..", "secret"), ("run_1", "absent"), ("run_1", ".hidden")):
        with pytest.raises(NotFound):
            files.read(tmp_path, run, name)


def test_old_runs_and_deleted_sessions_leave(tmp_path: Path) -> None:
    for run, session in (("run_old", "a"), ("run_new", "a"), ("run_other", "b")):
        write(tmp_path, run, "one", b"x", session=session)
    os.utime(tmp_path / files.FOLDER / "run_old" / "one", (0, 0))

    files.remove_old(tmp_path, 3600)
    assert {path.name for path in (tmp_path / files.FOLDER).iterdir()} == {"run_new", "run_other"}
    files.remove_session(tmp_path, "a")
    assert {path.name for path in (tmp_path / files.FOLDER).iterdir()} == {"run_other"}


@pytest.mark.parametrize("before", [0, 500, 980, 990, 1000, 1010])
def test_no_part_of_a_secret_stays_at_a_cut(before: int) -> None:
    raw = b"." * before + b"correct-horse-battery-9" + b"." * 200_000
    kept = cleaning.bounded(raw, 1000, lambda content: cleaning.clean(content, SCRUB))
    assert len(kept) <= 1000 and b"correct" not in kept


def test_a_secret_over_several_events_withholds_them() -> None:
    events = [b'data: {"d":{"t":"my correct-hor"}}', b'data: {"d":{"t":"se-battery-9 is"}}', b"data: [DONE]"]
    assert b"withheld" in cleaning.clean_events(b"\n\n".join(events), SCRUB)
    assert cleaning.clean_events(b"\n\n".join(events[:1]), SCRUB) == events[0]


def test_artifacts_that_are_stored_at_once_stay_within_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RUN_ARTIFACTS", 5)
    monkeypatch.setattr(files, "RUN_BYTES", 3000)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, tmp_path, "run_1", f"a-{number}", b"x" * 500) for number in range(60)]:
            done.result()
            assert files.listing(tmp_path, "run_1") is not None

    left = list((tmp_path / files.FOLDER / "run_1").iterdir())
    assert 0 < len(left) <= 5 and sum(path.stat().st_size for path in left) <= 3000
