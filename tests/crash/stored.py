"""Assets in the campaign, and their rules: each entry has its file, each file its entry. Shares no code with Kheish."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.crash.journals import Entry, Finding, all_entries

Send = Callable[[str, str, dict[str, Any]], tuple[int, dict[str, Any], int]]


def store(send: Send, acknowledge: Callable[[str, str, int], None], number: int) -> None:
    """Store a file; some are larger than a pipe holds."""
    content = f"file {number}\n".encode() * (1 if number % 3 else 20_000)
    body = {"name": f"{number}.txt", "content_base64": base64.b64encode(content).decode()}
    status, said, n = send("POST", "/v1/assets", body)
    if status == 201:
        acknowledge("assets", said["asset_id"], n)


def assets(
    root: Path, journals: Mapping[str, list[Entry]], acks: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Finding]:
    """Each stored file is there whole, with all that was derived; what was acknowledged has an entry."""
    files: dict[str, dict[str, str]] = {}
    for entry in all_entries(journals):
        data = entry["data"]
        match entry["kind"]:
            case "asset.stored":
                if data["asset_id"] in files:
                    yield Finding("asset_twice", data["asset_id"], f"entry {entry['n']}")
                files[data["asset_id"]] = {f"{data['path']}/content": data["asset_id"].removeprefix("sha256:")}
            case "asset.derived":
                parts = [data[name] for name in ("text", "image", "preview") if data.get(name)]
                files[data["asset_id"]] |= {f"{data['path']}/{one['name']}": one["sha256"] for one in parts}
            case "asset.deleted":
                del files[data["asset_id"]]
    named = {path: digest for one in files.values() for path, digest in one.items()}
    for path, digest in named.items():
        raw = (root / path).read_bytes() if (root / path).is_file() else None
        if raw is None or hashlib.sha256(raw).hexdigest() != digest:
            yield Finding("asset_lost", path, "it is missing" if raw is None else "it is changed")
    for file in (root / "assets").rglob("*"):
        path = file.relative_to(root).as_posix()
        if file.is_file() and file.name != "card.yaml" and path not in named:
            yield Finding("asset_left", path, "no entry names it")
    for ack in acks.get("assets", ()):
        if ack["id"] not in files:
            yield Finding("acknowledged", str(ack["id"]), "no entry has the asset")
