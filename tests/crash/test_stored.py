"""The rules of assets find each fault that is planted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.crash import stored

CONTENT, TEXT = b"content", b"text"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ID, FOLDER = f"sha256:{DIGEST}", f"assets/{DIGEST[:2]}/{DIGEST}"


def entry(n: int, kind: str, **data: Any) -> dict[str, Any]:
    return {"n": n, "kind": kind, "run": None, "session": None, "data": {"asset_id": ID, "path": FOLDER, **data}}


STORED = entry(1, "asset.stored")
DERIVED = entry(2, "asset.derived", text={"name": "text.txt", "sha256": hashlib.sha256(TEXT).hexdigest()})


@pytest.mark.parametrize(
    ("entries", "content", "found"),
    [
        ([STORED, DERIVED], CONTENT, set()),
        ([STORED, STORED, DERIVED], CONTENT, {"asset_twice"}),
        ([STORED, DERIVED], None, {"asset_lost"}),
        ([STORED, DERIVED], b"other", {"asset_lost"}),
        ([STORED], CONTENT, {"asset_left"}),
        ([STORED, DERIVED, entry(3, "asset.deleted")], CONTENT, {"asset_left", "acknowledged"}),
        ([], None, {"asset_left", "acknowledged"}),
    ],
)
def test_each_fault_is_found(
    tmp_path: Path, entries: list[dict[str, Any]], content: bytes | None, found: set[str]
) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "text.txt").write_bytes(TEXT)
    if content is not None:
        (tmp_path / FOLDER / "content").write_bytes(content)
    journals = {"journals/assets": entries}
    findings = stored.assets(tmp_path, journals, {"assets": [{"id": ID, "n": 1}]})
    assert {one.code for one in findings} == found
