"""Checks the state root as a git repository, by the git command alone."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.crash.journals import Entry, Finding, lines

_TRAILER = re.compile(r"^Kheish-Events: (\d+)-(\d+)$", re.MULTILINE)


def _git(root: Path, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return subprocess.run(
        ["git", *words], cwd=root, env=environment, input=stdin, capture_output=True, timeout=120, check=False
    )


def sound(root: Path) -> Iterator[Finding]:
    """`git fsck --full` has nothing to say, and no lock was left behind."""
    for _ in range(3):  # a living daemon may pack loose objects while fsck reads them: damage is found each time
        done = _git(root, "fsck", "--full", "--no-dangling", "--no-progress")
        said = (done.stdout + done.stderr).decode().strip()
        if not done.returncode and not said:
            break
    else:
        yield Finding("fsck", ".git", said or f"exit code {done.returncode}")
    for path in sorted((root / ".git").rglob("*.lock")):
        relative = path.relative_to(root / ".git")
        if relative.parts[0] != "kheish":
            yield Finding("lock_left", f".git/{relative}", "a lock file is left")


def clean(root: Path, people: Sequence[str] = ()) -> Iterator[Finding]:
    """`git status` is clean, apart from files of people."""
    for line in _git(root, "status", "--porcelain", "-uall").stdout.decode().splitlines():
        if not line[3:].startswith(tuple(people)) or not people:
            yield Finding("status", line[3:], f"git status says {line[:2]!r}")


def committed(root: Path, journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """HEAD has the journals that the work tree has, byte for byte."""
    tree = _tree(root, "HEAD")
    for name in journals:
        for path in sorted((root / name).glob("*.jsonl")):
            relative = str(path.relative_to(root))
            if relative not in tree:
                yield Finding("not_committed", relative, "HEAD has no such file")
            elif _blobs(root, [tree[relative]])[tree[relative]] != path.read_bytes():
                yield Finding("not_committed", relative, "HEAD has other content")
    there = {str(path.relative_to(root)) for name in journals for path in (root / name).glob("*.jsonl")}
    for relative in sorted(set(tree) - there):
        yield Finding("not_committed", relative, "HEAD has it, and the work tree does not")


def acknowledged(root: Path, acks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Finding]:
    """What was acknowledged is in HEAD: what a clone or a push would have."""
    entries = [entry for raw in _blobs(root, list(_tree(root, "HEAD").values())).values() for _, entry in lines(raw)]
    there = {str(value) for entry in entries if entry for value in _ids(entry)}
    for noun, group in acks.items():
        for ack in group:
            if str(ack["id"]) not in there:
                yield Finding("not_in_head", f"{noun} {ack['id']}", "no entry in HEAD's journals is about it")


def _ids(entry: Entry) -> Iterator[Any]:
    data = entry["data"]
    match entry["kind"]:
        case "session.created":
            yield entry["session"]
        case "run.submitted":
            yield entry["run"]
        case "approval.resolved":
            yield data["approval_id"]
        case "question.answered":
            yield data["question_id"]
        case "fire.claimed":
            yield f"{data['schedule_id']}@{data['planned']}"
        case "asset.stored":
            yield data["asset_id"]
        case "observation.received":
            yield data["observation_id"]
        case "ingress.received":
            yield data["receipt_id"]
        case "channel.posted":
            yield data["post"]["message_id"]
        case "project_task.created" | "project_task.claimed" | "project_task.ended":
            yield data["task_id"]
        case "message.posted":
            yield data["message_id"]


def whole(root: Path, journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """The commit that a clone has checked out is a cut: it ends where it says, and has all up to there."""
    numbers = sorted(entry["n"] for entries in journals.values() for entry in entries)
    found = _TRAILER.search(_git(root, "log", "-1", "--format=%B", "--grep=^Kheish-Events: ").stdout.decode())
    if numbers and found and numbers[-1] != int(found[2]):
        yield Finding("cut", root.name, f"its newest entry is {numbers[-1]}, and its commit says {found[2]}")
    for before, after in pairwise(numbers):
        if after > before + 1:
            yield Finding("n_gap", root.name, f"nothing between {before} and {after}")


def cuts(root: Path, journals: Mapping[str, list[Entry]], since: str | None = None) -> Iterator[Finding]:
    """The commit at N holds every entry up to N, and none above: each commit that says which events it has.

    `since`: an earlier commit that is checked again, but none before it.
    """
    every = sorted(entry["n"] for entries in journals.values() for entry in entries)
    cache: dict[str, list[int]] = {}
    last = 0
    span = (f"{since}~1..HEAD",) if since else ()
    log = _git(root, "log", "--first-parent", "--reverse", "--format=%H%x00%B%x01", *span).stdout.decode()
    for record in filter(None, (one.strip("\n") for one in log.split("\x01"))):
        commit, message = record.split("\x00", 1)
        found = _TRAILER.search(message)
        if not found:
            continue
        first, newest = int(found[1]), int(found[2])
        if first <= last:
            yield Finding("cut", commit, f"it says {first}-{newest}, and an earlier commit went up to {last}")
        last = max(last, newest)
        held = sorted(_numbers(root, commit, cache))
        wanted = every[: _position(every, newest)]
        if held != wanted:
            missing, above = set(wanted) - set(held), set(held) - set(wanted)
            yield Finding("cut", commit, f"up to {newest}: {_few(missing)} missing, {_few(above)} too many")
    if every and last < every[-1]:
        yield Finding("cut", "HEAD", f"the last commit goes up to {last}; the newest entry is {every[-1]}")


def _few(numbers: set[int]) -> str:
    return f"{sorted(numbers)[:5]}{'…' if len(numbers) > 5 else ''}"


def _position(numbers: Sequence[int], value: int) -> int:
    return sum(1 for one in numbers if one <= value)


def _numbers(root: Path, commit: str, cache: dict[str, list[int]]) -> list[int]:
    blobs = list(_tree(root, commit).values())
    fresh = [one for one in blobs if one not in cache]
    for name, raw in _blobs(root, fresh).items():
        cache[name] = [entry["n"] for _, entry in lines(raw) if entry is not None]
    return [n for one in blobs for n in cache[one]]


def _tree(root: Path, revision: str) -> dict[str, str]:
    """Journal files of a commit, by path: their blobs."""
    listed = _git(root, "ls-tree", "-r", "-z", revision, "sessions", "journals").stdout.decode()
    found = {}
    for line in filter(None, listed.split("\0")):
        about, path = line.split("\t", 1)
        if path.endswith(".jsonl") and "/forked/" not in path:
            found[path] = about.split()[2]
    return found


def _blobs(root: Path, names: Sequence[str]) -> dict[str, bytes]:
    if not names:
        return {}
    raw = _git(root, "cat-file", "--batch", stdin="\n".join(names).encode() + b"\n").stdout
    found, offset = {}, 0
    while offset < len(raw):
        end = raw.index(b"\n", offset)
        name, _, size = raw[offset:end].decode().split()
        found[name] = raw[end + 1 : end + 1 + int(size)]
        offset = end + 1 + int(size) + 1
    return found
