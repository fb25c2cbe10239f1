"""The rules of observations find each fault that is planted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.crash import watched

LINES = b'{"text":"a"}\n{"text":"b"}\n'
PATH = "observations/s/2026-11-29/b.jsonl"


def file(path: str = PATH, first: int = 1, count: int = 2) -> dict[str, Any]:
    return {"path": path, "sha256": hashlib.sha256(LINES).hexdigest(), "first": first, "count": count}


def entry(n: int, kind: str, **data: Any) -> dict[str, Any]:
    return {"n": n, "kind": kind, "run": None, "session": None, "data": data}


def received(n: int, number: int, id: str) -> dict[str, Any]:
    return entry(n, "observation.received", observation_id=id, number=number)


STORED = entry(1, "observations.stored", file=file())
FIRST, SECOND = received(2, 1, "o1"), received(3, 2, "o2")
PURGED = entry(4, "observations.purged", upto=2, files=[PATH], rest=None)


@pytest.mark.parametrize(
    ("entries", "content", "found"),
    [
        ([STORED, FIRST, SECOND], LINES, set()),
        ([STORED, FIRST, SECOND, PURGED], None, set()),
        ([STORED, FIRST, SECOND], None, {"observation_lost"}),
        ([STORED, FIRST, SECOND], b"other", {"observation_lost"}),
        ([STORED, FIRST, SECOND, PURGED], LINES, {"observation_left"}),
        ([STORED, FIRST], LINES, {"observation_count", "acknowledged"}),
        ([STORED, FIRST, SECOND, received(5, 2, "o2")], LINES, {"observation_twice"}),
        ([STORED, FIRST, received(3, 3, "o2")], LINES, {"observation_twice", "observation_count"}),
        ([STORED, FIRST, SECOND, PURGED, {**PURGED, "n": 5}], None, {"observation_purge"}),
    ],
)
def test_each_fault_is_found(
    tmp_path: Path, entries: list[dict[str, Any]], content: bytes | None, found: set[str]
) -> None:
    (tmp_path / PATH).parent.mkdir(parents=True)
    if content is not None:
        (tmp_path / PATH).write_bytes(content)
    acks = {"observations": [{"id": "o1"}, {"id": "o2"}]}
    findings = watched.observations(tmp_path, {"journals/observations/s": entries}, acks)
    assert {one.code for one in findings} == found
