"""Writes a state root with any number of sessions: `python -m bench.generate DIR SESSIONS`.

The daemon makes one session of each kind (`patterns`); every further one is a copy with ids, days, event numbers and
texts of its own. Files go into the work tree and, through `git fast-import`, into as many commits as a daemon would
have made on a busy day; the daemon makes its index at its next start.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench import patterns, processes
from bench.vocabulary import Speaker
from kheish.store.files import FOLDER_LIMIT

DAYS = 30
PER_COMMIT = 200
SEED = 20_261_125
File = tuple[str, bytes]


def session_name(number: int) -> str:
    """The id of the session with a number, from 0."""
    return f"bench-{number:06d}"


def generate(folder: Path, sessions: int) -> tuple[Path, int]:
    """A state root in `folder` with so many further sessions; its path and how many journal entries they hold."""
    root = processes.new_root(folder)
    made = patterns.make(root)
    start = newest(root) + 1
    last = add(root, _sessions(made, sessions, start))
    return root, last - start + 1


def newest(root: Path) -> int:
    """The highest event number of a root that no daemon serves."""
    return int((root / ".git" / "kheish" / "n").read_text())


def add(root: Path, sessions: Iterator[tuple[int, list[File]]]) -> int:
    """Put sessions, each as (its last event number, its files), into a root that no daemon serves; the index is made
    again at the next start. Returns the highest event number."""
    for leftover in (root / ".kheish").glob("index.sqlite*"):
        leftover.unlink()
    last = _write(root, sessions, newest(root) + 1)
    _settle(root, last)
    return last


def _sessions(made: list[patterns.Pattern], sessions: int, start: int) -> Iterator[tuple[int, list[File]]]:
    """Each session as (its last event number, its files), in the order of their days."""
    speaker = Speaker(SEED)
    weights = [kind.weight for kind in patterns.KINDS]
    per_day = min(max(1, -(-sessions // DAYS)), FOLDER_LIMIT - 1)
    yesterday = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)
    first_day = yesterday - datetime.timedelta(days=(sessions - 1) // per_day)
    for number in range(sessions):
        # The first ones are of each kind once, so that a small root has all of them.
        pattern = made[number if number < len(made) else speaker.pick(weights)]
        day = str(first_day + datetime.timedelta(days=number // per_day))
        files = pattern.copy(number, session_name(number), day, start, speaker)
        start += pattern.entries
        yield start - 1, [(path, text.encode()) for path, text in files]


def _write(root: Path, sessions: Iterator[tuple[int, list[File]]], start: int) -> int:
    """Into the work tree and into commits at once; returns the highest event number."""
    importer = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=root, stdin=subprocess.PIPE)
    assert importer.stdin is not None
    parent, last = _git(root, "rev-parse", "main"), start - 1
    waiting: list[tuple[int, list[File]]] = []
    for one in sessions:
        _work_tree(root, one[1])
        waiting.append(one)
        if len(waiting) == PER_COMMIT:
            parent, last = _commit(importer.stdin, waiting, last + 1, parent)
            waiting = []
    if waiting:
        parent, last = _commit(importer.stdin, waiting, last + 1, parent)
    importer.stdin.close()
    if importer.wait():
        raise RuntimeError("git fast-import failed")
    return last


def _commit(stream: IO[bytes], made: list[tuple[int, list[File]]], first: int, parent: str) -> tuple[str, int]:
    """One commit as `git fast-import` reads it; the next one's parent is the branch itself."""
    last = made[-1][0]
    message = f"{len(made)} runs in {len(made)} sessions\n\nKheish-Events: {first}-{last}\n".encode()
    who = f"Kheish daemon <daemon@kheish.invalid> {int(time.time())} +0000"
    stream.write(f"commit refs/heads/main\ncommitter {who}\ndata {len(message)}\n".encode() + message)
    if not parent.startswith("refs/"):
        stream.write(f"from {parent}\n".encode())
    for path, data in (file for _, files in made for file in files):
        stream.write(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
    return "refs/heads/main", last


def _work_tree(root: Path, files: list[File]) -> None:
    for path, data in files:
        target = root / path
        try:
            target.write_bytes(data)
        except FileNotFoundError:
            target.parent.mkdir(parents=True)
            target.write_bytes(data)


def _settle(root: Path, last: int) -> None:
    """What a daemon that had written all of this would have left in `.git`."""
    private = root / ".git" / "kheish"
    (private / "n").write_text(str(last))
    head = _git(root, "rev-parse", "main")
    _git(root, "update-ref", "refs/kheish/last", head)
    _git(root, "read-tree", head)
    _git(root, "update-index", "-q", "--refresh")
    (private / "indexed").write_text(head)


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Make a root that stays."""
    folder, sessions = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    root, entries = generate(folder, sessions)
    print(f"{root}: {sessions} sessions, {entries} journal entries")


if __name__ == "__main__":
    main()
