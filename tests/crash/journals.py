"""Reads the journals of a state root as anybody could: files, lines, JSON. Shares no code with Kheish."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEGMENT = 64 * 1024
KEYS = ("v", "n", "seq", "at", "kind", "actor", "data")

Entry = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a code, where, and what."""

    code: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.code} at {self.where}: {self.what}"


def folders(root: Path) -> list[Path]:
    """Every folder that holds segments of a journal."""
    found = {path.parent for top in ("sessions", "journals") for path in (root / top).glob("**/*.jsonl")}
    return sorted(path for path in found if "forked" not in path.parts)


def read(root: Path) -> tuple[dict[str, list[Entry]], list[Finding]]:
    """All entries by journal, and what is wrong with files and lines."""
    journals: dict[str, list[Entry]] = {}
    findings: list[Finding] = []
    for folder in folders(root):
        name = str(folder.relative_to(root))
        journals[name] = []
        files = sorted(folder.glob("*.jsonl"))
        for number, path in enumerate(files, start=1):
            if path.name != f"{number:06d}.jsonl":
                findings.append(Finding("segment_name", f"{name}/{path.name}", f"segment {number} was expected"))
            raw = path.read_bytes()
            findings += _segment(f"{name}/{path.name}", raw, is_last=path == files[-1])
            journals[name] += [entry for _, entry in lines(raw) if entry is not None]
    return journals, findings


def lines(raw: bytes) -> Iterator[tuple[int, Entry | None]]:
    """Numbered lines; None for one that is no journal entry."""
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line:
            yield number, _entry(line)


def _entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    good = isinstance(entry, dict) and all(key in entry for key in KEYS) and ("session" in entry or "stream" in entry)
    return entry if good else None


def _segment(where: str, raw: bytes, *, is_last: bool) -> Iterator[Finding]:
    if raw and not raw.endswith(b"\n"):
        yield Finding("torn_line", where, "the last line has no newline")
    bad = [number for number, entry in lines(raw) if entry is None]
    for number in bad:
        yield Finding("torn_line", f"{where}:{number}", "not a journal entry")
    before_last = raw.rfind(b"\n", 0, -1) + 1
    if before_last > SEGMENT:
        yield Finding("segment_size", where, f"{len(raw)} bytes: it went on after it had reached {SEGMENT}")
    if not is_last and len(raw) < SEGMENT:
        yield Finding("segment_size", where, f"closed with only {len(raw)} bytes")


def numbering(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Every `n` once over all journals and growing in each; `seq` from 1 without a gap."""
    seen: dict[int, str] = {}
    for name, entries in journals.items():
        last = 0
        for seq, entry in enumerate(entries, start=1):
            where = f"{name} seq {entry['seq']}"
            if entry["seq"] != seq:
                yield Finding("seq_gap", where, f"{seq} was expected")
            if entry["n"] <= last:
                yield Finding("n_order", where, f"n {entry['n']} comes after {last}")
            if entry["n"] in seen:
                yield Finding("n_twice", where, f"n {entry['n']} is in {seen[entry['n']]} too")
            seen.setdefault(entry["n"], name)
            last = max(last, entry["n"])


def spills(root: Path, journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Every payload that a line only names is there, whole."""
    for name, entries in journals.items():
        for entry in entries:
            for ref in _references(entry["data"]):
                path = root / Path(name).parent / "spill" / ref["sha256"]
                if not path.is_file():
                    yield Finding("spill_missing", f"{name} seq {entry['seq']}", str(path.relative_to(root)))
                elif hashlib.sha256(path.read_bytes()).hexdigest() != ref["sha256"]:
                    yield Finding("spill_damaged", f"{name} seq {entry['seq']}", str(path.relative_to(root)))


def payload(root: Path, journal: str, value: Any) -> Any:
    """A value of a line, whole: JSON of a mapping, else text. None where `spills` finds a fault."""
    if not isinstance(value, dict) or set(value) != {"sha256", "bytes", "preview"}:
        return value
    path = root / Path(journal).parent / "spill" / value["sha256"]
    raw = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(raw).hexdigest() != value["sha256"]:
        return None
    return json.loads(raw) if raw.startswith(b"{") else raw.decode()


def _references(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        if set(value) == {"sha256", "bytes", "preview"}:
            yield value
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def by_run(journals: Mapping[str, list[Entry]]) -> dict[str, list[Entry]]:
    """The entries of each run, in the order of its journal."""
    found: dict[str, list[Entry]] = {}
    for entries in journals.values():
        for entry in entries:
            if entry.get("run"):
                found.setdefault(entry["run"], []).append(entry)
    return found


def all_entries(journals: Mapping[str, Iterable[Entry]]) -> Iterator[Entry]:
    """Every entry of every journal."""
    for entries in journals.values():
        yield from entries
