"""Files that are taken together share a ticket, and cost what one costs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from kheish.authoring.inbox import tickets
from kheish.authoring.inbox.tickets import Taken

COUNTED: list[list[str]] = []


def _note_folders(event: str, args: tuple[Any, ...]) -> None:
    if COUNTED and event == "open" and isinstance(args[2], int) and args[2] & os.O_DIRECTORY:
        COUNTED[-1].append(os.fspath(args[0]))


sys.addaudithook(_note_folders)  # cannot be removed, and is silent outside of `counted`


def drop(root: Path, path: str, content: bytes = b"x") -> str:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)
    return path


def test_a_thousand_files_cost_an_fsync_for_each_folder(tmp_path: Path) -> None:
    away = tmp_path / ".git" / "kheish" / "inbox"
    paths = [drop(tmp_path, f"inbox/s{number % 3}/n{number}.md") for number in range(300)]
    COUNTED.append([])
    try:
        moved, failed = tickets.move(tmp_path, away, paths)
        opened = COUNTED[-1]
    finally:
        COUNTED.clear()
    assert not failed and len(moved) == 300 and len({taken.ticket for taken in moved}) == 1
    # the three sessions there and here, the ticket, and the two folders above
    assert len(opened) == 9 and len(set(opened)) == 9
    assert len({taken.key for taken in moved}) == 300, "each is a request of its own"
    assert sorted(tickets.list_moved(away), key=lambda one: one.path) == sorted(moved, key=lambda one: one.path)
    tickets.remove(away, moved)
    assert not list(away.iterdir())


def test_what_cannot_be_moved_stays_and_is_reported(tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.write_text("a file where the folder should be")
    paths = [drop(tmp_path, "inbox/s/a.md"), drop(tmp_path, "inbox/s/empty.md", b""), "inbox/s/missing.md"]
    moved, failed = tickets.move(tmp_path, away, paths)
    assert not moved and failed == {"inbox/s/a.md": "Not a directory"}
    assert (tmp_path / "inbox/s/a.md").read_bytes() == b"x"


def test_a_ticket_of_an_earlier_version_keeps_its_key(tmp_path: Path) -> None:
    assert Taken(tmp_path / "drop_1", "inbox/s/a.md").key == "drop_1"
    first, second = (Taken(tmp_path / "drops_1", f"inbox/s/{name}.md").key for name in "ab")
    assert first.startswith("drops_1.") and first != second
