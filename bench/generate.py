"""Writes a state root with any number of sessions: `python -m bench.generate DIR SESSIONS`.

The daemon makes one session with one finished run; its files are the pattern. Every further session is that one with
ids and event numbers of its own: so journals, Records and commit are what this version of the daemon writes. The files
go into the work tree and, through `git fast-import`, into one commit; the daemon makes its index at its next start.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from kheish.store.files import FOLDER_LIMIT

PATTERN = "pattern"
_NUMBER = re.compile(r'(\{"v":1,"n":|^last_n: |^"?n"?: )(\d+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The files of one session by their path in its folder; which folder, ids and event numbers they name."""

    files: dict[str, str]
    folder: str
    run_id: str
    agent_id: str
    first: int
    last: int

    def copy(self, number: int, first: int) -> Iterator[tuple[str, str]]:
        """The files (path from the root, text) of session `number`, whose entries begin at `first`."""
        day, _, _ = self.folder.rpartition("/")
        part = number // (FOLDER_LIMIT - 1)
        name = session_name(number)
        folder = f"{day}.{part}/{name}" if part else f"{day}/{name}"
        run_id, agent_id = f"{self.run_id[:-7]}{number:07d}", f"{self.agent_id[:-7]}{number:07d}"

        def renumber(found: re.Match[str]) -> str:
            return f"{found[1]}{int(found[2]) - self.first + first}"

        for path, text in self.files.items():
            text = text.replace(self.folder, folder).replace(self.run_id, run_id).replace(self.agent_id, agent_id)
            text = text.replace(f'"session":"{PATTERN}"', f'"session":"{name}"')
            text = text.replace(f"session_id: {PATTERN}\n", f"session_id: {name}\n")
            yield f"{folder}/{path.replace(self.run_id, run_id)}", _NUMBER.sub(renumber, text)


def session_name(number: int) -> str:
    """The id of the session with a number, from 0."""
    return f"bench-{number:06d}"


def generate(folder: Path, sessions: int) -> tuple[Path, int]:
    """A state root in `folder` with so many further sessions; its path and how many journal entries they hold."""
    root = processes.new_root(folder)
    pattern = _pattern(root)
    entries = pattern.last - pattern.first + 1
    start = _highest(root) + 1
    for leftover in (root / ".kheish").glob("index.sqlite*"):
        leftover.unlink()
    _write(root, pattern, sessions, start)
    last = start + sessions * entries - 1
    private = root / ".git" / "kheish"
    (private / "n").write_text(str(last))
    head = _git(root, "rev-parse", "main")
    _git(root, "update-ref", "refs/kheish/last", head)
    _git(root, "read-tree", head)
    _git(root, "update-index", "-q", "--refresh")
    (private / "indexed").write_text(head)
    return root, sessions * entries


def _pattern(root: Path) -> Pattern:
    with processes.daemon(root) as served:
        spec = {"url": served.url, "token": served.token, "names": [PATTERN]}
        processes.load("prepare", **spec)
        processes.load("latency", **spec, count=1, warm=0, pause=0)
    (journal,) = root.glob(f"sessions/*/{PATTERN}/journal/000001.jsonl")
    folder = journal.parent.parent
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    numbers = [int(found[2]) for found in _NUMBER.finditer(journal.read_text())]
    record = files["session.yaml"]
    return Pattern(
        files=files,
        folder=str(folder.relative_to(root)),
        run_id=next((folder / "runs").iterdir()).stem,
        agent_id=record[record.index("agent_id: ") + 10 :].split("\n", 1)[0],
        first=min(numbers),
        last=max(numbers),
    )


def _highest(root: Path) -> int:
    return int((root / ".git" / "kheish" / "n").read_text())


def _write(root: Path, pattern: Pattern, sessions: int, start: int) -> None:
    """Into the work tree and one commit at once."""
    entries = pattern.last - pattern.first + 1
    last = start + sessions * entries - 1
    importer = subprocess.Popen(["git", "fast-import", "--quiet"], cwd=root, stdin=subprocess.PIPE)
    assert importer.stdin is not None
    message = f"{sessions} runs in {sessions} sessions\n\nKheish-Events: {start}-{last}\n".encode()
    who = f"Kheish daemon <daemon@kheish.invalid> {int(time.time())} +0000"
    head = _git(root, "rev-parse", "main")
    importer.stdin.write(
        f"commit refs/heads/main\ncommitter {who}\ndata {len(message)}\n".encode() + message + f"from {head}\n".encode()
    )
    for number in range(sessions):
        for path, text in pattern.copy(number, start + number * entries):
            data = text.encode()
            target = root / path
            try:
                target.write_bytes(data)
            except FileNotFoundError:
                target.parent.mkdir(parents=True)
                target.write_bytes(data)
            importer.stdin.write(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
    importer.stdin.close()
    if importer.wait():
        raise RuntimeError("git fast-import failed")


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
