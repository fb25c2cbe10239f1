"""Journals as people read them: a conversation, and never an error that git would die of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kheish.store.git import textconv


def lines(kind: str, data: Any, **more: Any) -> list[str]:
    entry = {"v": 1, "n": 7, "seq": 1, "at": "2026-11-22T12:00:00.1Z", "kind": kind, "data": data, **more}
    return textconv.lines_of(json.dumps(entry))


def test_a_conversation_reads_as_one() -> None:
    asked = {"request": {"items": [{"type": "text", "text": "mend\nit"}, {"type": "asset", "asset_id": "a1"}]}}
    assert lines("run.submitted", asked, run="r1", actor="ada") == [
        "2026-11-22 12:00:00Z  asks  #7  r1 ada",
        "    mend",
        "    it",
        "    [asset a1]",
        "",
    ]
    calls = [{"name": "bash", "arguments": {"command": "make"}}, {"name": "edit", "arguments": {"a": "1", "b": "2"}}]
    assert lines("model.responded", {"text": "Let me.", "calls": calls}, run="r1")[1:] == [
        "    Let me.", "    → bash: make", "    → edit", "        a: 1", "        b: 2", "",
    ]  # fmt: skip
    failed = {"tool": "bash", "is_error": True, "content": "no rule"}
    assert lines("tool.finished", failed) == ["2026-11-22 12:00:00Z  ← bash failed  #7", "    no rule", ""]
    edited = {"tool": "edit", "is_error": False, "content": "Done.", "detail": {"diff": "-a\n+b"}}
    assert lines("tool.finished", edited)[1:] == ["    -a", "    +b", ""]
    spilled = {"sha256": "f" * 64, "bytes": 99999, "preview": "the beginning"}
    assert lines("tool.finished", {"tool": "bash", "content": spilled})[1:3] == [
        "    the beginning",
        f"    … 99999 bytes in spill/{'f' * 64}",
    ]
    assert lines("run.started", {}) == ["2026-11-22 12:00:00Z  run.started  #7"]


@pytest.mark.parametrize(
    "raw",
    ["", "broken", "[]", "7", '{"at":1}', '{"at":"x","kind":"run.submitted","data":null}', '{"kind":"tool.finished"}'],
)
def test_what_is_not_understood_is_shown_as_it_is(raw: str) -> None:
    assert textconv.lines_of(raw) == [f"    {raw}"]


def test_an_unknown_kind_is_shown_field_by_field_and_bad_bytes_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    head = b'{"v":1,"n":7,"at":"2026-11-22T12:00:00Z","kind":"x.new","data":{"one":"caf\xc3\xa9","two":[{"a":1}]}}\n'
    file.write_bytes(head + b"\xff\xfe{\n")

    script = str(Path(textconv.__file__))
    done = subprocess.run([sys.executable, "-S", "-E", script, str(file)], capture_output=True, check=True)

    shown = done.stdout.decode().splitlines()
    assert shown[:4] == ["2026-11-22 12:00:00Z  x.new  #7", "    one: café", "    two:", "      - a: 1"]
    assert shown[-1].endswith("{")
