"""Checks memory: each file is as its agent's last call left it, and no agent's content counts as a user's."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.crash.journals import Entry, Finding, all_entries


def memories(root: Path, journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """The campaign has no user who edits memory: what is there, agents wrote, each call once."""
    entries = list(all_entries(journals))
    expected: dict[str, str | None] = {}
    proposed = Counter(one["data"]["proposal_id"] for one in entries if one["kind"] == "memory.proposed")
    for entry in entries:
        data = entry["data"]
        if entry["kind"] == "memory.changed" and data["origin"] == "person":
            yield Finding("memory_promoted", data["path"], f"entry {entry['n']} makes an agent's content a user's")
        if entry["kind"] != "tool.finished" or data["tool"] != "memory" or data["is_error"]:
            continue
        detail = data["detail"]
        if "proposal_id" in detail and proposed[detail["proposal_id"]] != 1:
            yield Finding("proposed_twice", detail["proposal_id"], f"{proposed[detail['proposal_id']]} times")
        if "after" in detail:
            expected[detail["path"]] = detail["after"]
    for path, digest in expected.items():
        raw = (root / path).read_bytes() if (root / path).exists() else None
        there = hashlib.sha256(raw).hexdigest() if raw is not None else None
        if there != digest:
            yield Finding("effect_lost", path, f"the last call left {digest}, and there is {there}")
