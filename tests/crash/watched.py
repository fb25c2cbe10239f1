"""Observations in the campaign, and their rules: numbers without gaps, each text once, each file whole or purged.

Shares no code with Kheish.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.crash.journals import Entry, Finding

Send = Callable[..., tuple[int, dict[str, Any], int]]
FOREVER, BRIEF, SECRET = "kept", "brief", "secret"
#: sources that keep all, and sources that purge by themselves while they are killed
SOURCES: dict[str, dict[str, Any]] = {
    FOREVER: {"kinds": ["log"]},
    BRIEF: {"kinds": ["log"], "retention": {"count": 7}},
    SECRET: {"kinds": ["log"], "retention": {"count": 5}, "purge": "forget"},
}


def set_up(send: Send) -> None:
    """Create the sources."""
    for name, fields in SOURCES.items():
        send("PUT", f"/v1/sources/{name}", fields)


def batch(source: str, number: int) -> tuple[str, str, dict[str, Any]]:
    """Return the source, the key and the body of a batch."""
    items = [{"text": f"{source}.{number}.{at}", "sequence": at} for at in range(1 + number % 4)]
    return source, f"seen.{number}", {"items": items}


def store(send: Send, acknowledge: Callable[[str, str, int], None], given: tuple[str, str, dict[str, Any]]) -> None:
    """Send a batch; a repeated one is the same."""
    source, key, body = given
    status, said, n = send("POST", f"/v1/sources/{source}/observations", body, key)
    if status in (200, 201):
        for one in said["items"]:
            acknowledge("observations", one["observation_id"], n)


def observations(
    root: Path, journals: Mapping[str, list[Entry]], acks: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Finding]:
    """Each observation is there once, with its content unless it is purged."""
    known = set[str]()
    for where, entries in journals.items():
        if where.startswith("journals/observations/"):
            yield from _source(root, where.rpartition("/")[2], entries, known)
    for ack in acks.get("observations", ()):
        if ack["id"] not in known:
            yield Finding("acknowledged", str(ack["id"]), "no entry has the observation")


def _source(root: Path, source: str, entries: Sequence[Entry], known: set[str]) -> Iterator[Finding]:
    files: dict[str, dict[str, Any]] = {}
    last = purged = 0
    for entry in entries:
        data = entry["data"]
        match entry["kind"]:
            case "observations.stored":
                files[data["file"]["path"]] = data["file"]
            case "observation.received":
                if data["observation_id"] in known or data["number"] != last + 1:
                    yield Finding("observation_twice", data["observation_id"], f"number {data['number']} after {last}")
                known.add(data["observation_id"])
                last = data["number"]
            case "observations.purged":
                for path in data["files"]:
                    files.pop(path, None)
                if data["rest"]:
                    files[data["rest"]["path"]] = data["rest"]
                if data["upto"] <= purged or data["upto"] > last:
                    yield Finding("observation_purge", source, f"up to {data['upto']}, after {purged} of {last}")
                purged = data["upto"]
    yield from _files(root, source, files, last - purged)


def _files(root: Path, source: str, files: Mapping[str, Mapping[str, Any]], kept: int) -> Iterator[Finding]:
    texts, count = Counter[str](), 0
    for path, file in files.items():
        raw = (root / path).read_bytes() if (root / path).is_file() else None
        if raw is None or hashlib.sha256(raw).hexdigest() != file["sha256"]:
            yield Finding("observation_lost", path, "it is missing" if raw is None else "it is changed")
        elif path.endswith(".jsonl"):
            texts.update(json.loads(line)["text"] for line in raw.splitlines())
        elif not (root / ".git/kheish/observation-keys" / source / f"{path.rpartition('/')[2]}.key").is_file():
            yield Finding("observation_key", path, "its key is missing")
        count += file["count"]
    if count != kept:
        yield Finding("observation_count", source, f"{count} contents of {kept} observations")
    for text, number in texts.items():
        if number > 1:
            yield Finding("observation_twice", text, f"{number} times")
    for found in (root / "observations" / source).rglob("*"):
        path = found.relative_to(root).as_posix()
        if found.is_file() and path not in files:
            yield Finding("observation_left", path, "no entry names it, or it is purged")
