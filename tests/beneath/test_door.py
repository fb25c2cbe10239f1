"""What a door hides is known by identity, and is looked up again only where something changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kheish.beneath import door
from kheish.beneath.door import Hidden, id_of


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each folder count as one that changed long ago."""
    monkeypatch.setattr(door, "_SETTLED", -60.0)


def _old(folder: Path) -> None:
    os.utime(folder, (1, 1))


def test_an_unchanged_folder_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1")
    hidden = Hidden((tmp_path,))
    before = hidden.ids()
    monkeypatch.setattr(os, "scandir", None)

    assert hidden.ids() == before and id_of((tmp_path / "a").stat()) in before


def test_a_file_that_is_added_or_replaced_is_hidden(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    hidden = Hidden((tmp_path,))
    _old(tmp_path)
    before = hidden.ids()
    (tmp_path / "b").write_text("2")
    (tmp_path / "new").write_text("3")
    (tmp_path / "new").rename(tmp_path / "a")

    assert {id_of((tmp_path / name).stat()) for name in "ab"} <= hidden.ids() != before


def test_what_could_not_be_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("1")
    hidden, scandir = Hidden((tmp_path,)), os.scandir

    def refuse(path: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "scandir", refuse)
    _old(tmp_path)
    hidden.ids()
    monkeypatch.setattr(os, "scandir", scandir)

    assert id_of((tmp_path / "key").stat()) in hidden.ids()
