"""Payloads on disk, and what users put in their places."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from kheish.store import exchange
from kheish.store.log import spills

CONTENT = b"a payload"
DIGEST = sha256(CONTENT).hexdigest()
PATH = f"sessions/2026-11-29/s/spill/{DIGEST}"


def opened() -> int:
    """Return the number of open descriptors."""
    return len(os.listdir("/proc/self/fd"))


def take(root: Path) -> bytes:
    return spills.read(root, PATH, size=len(CONTENT))


def swap(root: Path) -> bytes:
    with pytest.raises(exchange.Differs) as caught:
        exchange.swap(root, PATH, b"new", seen=CONTENT)
    assert caught.value.content is None
    return CONTENT


def take_out(root: Path) -> bytes:
    with pytest.raises(exchange.Differs):
        exchange.swap(root, PATH, None, seen=CONTENT)
    return CONTENT


@pytest.mark.parametrize("use", [take, swap, take_out])
def test_a_folder_in_the_place_of_a_file_is_no_content_and_costs_no_descriptor(
    tmp_path: Path, use: Callable[[Path], bytes]
) -> None:
    spills.place(tmp_path, PATH, CONTENT, fsync=False)
    (tmp_path / PATH).unlink()
    (tmp_path / PATH).mkdir()
    before = opened()
    for _ in range(3):
        assert use(tmp_path) == CONTENT
    assert opened() == before and (tmp_path / PATH).is_dir()


def test_a_folder_in_the_place_of_a_payload_is_moved_aside_when_it_is_written(tmp_path: Path) -> None:
    (tmp_path / PATH).mkdir(parents=True)
    (tmp_path / PATH / "note").write_text("a user's")
    spills.place(tmp_path, PATH, CONTENT, fsync=False)
    assert (tmp_path / PATH).read_bytes() == CONTENT
    [note] = (tmp_path / "conflicts").rglob("note")
    assert note.read_text() == "a user's"
