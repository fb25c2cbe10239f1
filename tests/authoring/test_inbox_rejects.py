"""Where rejected files of one name go, however many there are."""

from __future__ import annotations

import time
from pathlib import Path

from kheish.authoring.inbox.rejects import REJECTED, Names
from kheish.authoring.inbox.tickets import Taken

NAME = "s._____.exe"


def test_another_content_is_put_beside_and_the_same_is_the_same(tmp_path: Path) -> None:
    folder = tmp_path / REJECTED
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"on disk")
    (folder / "s._____.4.exe").write_bytes(b"behind a gap")
    filing = {f"{REJECTED}/s._____.2.exe": (Taken(tmp_path, "inbox/s/x"), b"being filed")}
    free = Names(tmp_path, filing)
    assert free.path(NAME, b"being filed") == f"{REJECTED}/s._____.2.exe"
    assert free.path(NAME, b"new") == f"{REJECTED}/s._____.3.exe"
    assert free.path(NAME, b"on disk") == f"{REJECTED}/{NAME}"
    assert free.path(NAME, b"new") == f"{REJECTED}/s._____.3.exe"
    assert free.path(NAME, None) == f"{REJECTED}/s._____.5.exe"  # too large to compare


def test_thousands_of_one_name_cost_each_the_same(tmp_path: Path) -> None:
    filing: dict[str, tuple[Taken, bytes]] = {}
    free, began = Names(tmp_path, filing), time.process_time()
    for number in range(4000):
        raw = b"%d" % number
        filing[free.path(NAME, raw)] = Taken(tmp_path, "inbox/s/x"), raw
    assert len(filing) == 4000
    assert time.process_time() - began < 2.0  # 8 million looks at the disk otherwise
