"""A file of a journal: its name, its lines, and the part that a cut holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from kheish.errors import Damaged
from kheish.store import door, names

#: the part of a segment in a cut: the number of its first bytes, and their hash (`extent`). A size alone would accept
#: any content that a user's git has put there meanwhile, such as the segment of an older commit
Extent = tuple[int, str]
#: lines of a journal: `(seq, line without newline)`
Lines = list[tuple[int, bytes]]
#: n, journal, seq, session, run, kind, line
Row = tuple[int, str, int, str | None, str | None, str, str]


def extent(content: bytes) -> Extent:
    """Return the extent of a whole content."""
    return len(content), hash_of(content).hexdigest()


def hash_of(content: bytes) -> blake2b:
    """Return a hash of a content that can be extended."""
    return blake2b(content, digest_size=16)


def name(segment: int) -> str:
    """Return the file name of a segment."""
    return f"{segment:06d}.jsonl"


def segments(folder: Path) -> list[Path]:
    """Return a journal's segments, oldest first; files that are not regular are skipped."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / one for one in sorted(names) if one.endswith(".jsonl") and one[0].isdigit()]


def journals(root: Path, top: str) -> list[str]:
    """Return the folders with segments beneath a folder of the root, in order; folders with names that the daemon never
    gives are skipped."""
    below = (path for path, _ in door.walk(root, top) if path.endswith(".jsonl") and path.isascii())
    return sorted({path.rpartition("/")[0] for path in below if path.isprintable() and names.is_text(path)})


def parse(raw: bytes, where: str, expect: int | None = None) -> list[dict[str, Any]]:
    """Return the entries of a segment. `expect` is the first `seq`. Raises Damaged with file and line."""
    return [entry for entry, _ in parse_lines(raw, where, expect)]


def parse_lines(raw: bytes, where: str, expect: int | None = None) -> list[tuple[dict[str, Any], bytes]]:
    """Return the entries of a segment as `parse` does, each with its line as stored."""
    entries: list[tuple[dict[str, Any], bytes]] = []
    for number, line in enumerate(raw.splitlines(), start=1):
        try:
            entry = orjson.loads(line)
            seq = entry["seq"]
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{where}:{number}: not a journal line", path=where, line=number) from error
        if expect is not None and seq != expect:
            raise Damaged(f"{where}:{number}: seq {seq} where {expect} follows", path=where, line=number)
        expect = seq + 1
        entries.append((entry, line))
    return entries


def by_journal(entries: Iterable[Sequence[Any]]) -> tuple[dict[str, Lines], list[Row]]:
    """Return entries as the lines of each journal, and as rows for the index."""
    journals: dict[str, Lines] = {}
    rows: list[Row] = []
    for where, entry in entries:
        line = orjson.dumps(entry)
        journals.setdefault(where, []).append((entry["seq"], line))
        rows.append(row(where, entry, line))
    return journals, rows


def row(where: str, entry: Mapping[str, Any], line: bytes) -> Row:
    """Return an entry and its line as a row for the index."""
    return (
        entry["n"], where, entry["seq"], entry.get("session"), entry.get("run"), entry["kind"], line.decode(),
    )  # fmt: skip
