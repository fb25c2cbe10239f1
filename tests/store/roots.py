"""A state root in a temporary folder, with git as a person would use it, and a cut's payload."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from kheish.store import pipes
from kheish.store.git import template
from kheish.store.log.journal import Extent, extent

PERSON = {
    "GIT_AUTHOR_NAME": "Pat",
    "GIT_AUTHOR_EMAIL": "pat@example.org",
    "GIT_COMMITTER_NAME": "Pat",
    "GIT_COMMITTER_EMAIL": "pat@example.org",
}


@functools.cache
def _made() -> Path:
    """Return a state root that is made once in this process: `init` syncs two hundred files, a copy none."""
    folder = Path(tempfile.mkdtemp(prefix="kheish-root-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    template.init(folder / "root")
    return folder / "root"


def make(tmp_path: Path) -> Path:
    """Make a state root as `init` leaves it; all of a process have the same ids and token."""
    root = tmp_path / "root"
    shutil.copytree(_made(), root, symlinks=True)
    git(root, "update-index", "-q", "--refresh")
    return root


def git(root: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=root, env={**os.environ, **PERSON}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def worker(root: Path) -> pipes.Child:
    return pipes.Child([sys.executable, "-m", "kheish.store.git.gitworker", os.fspath(root)])


def journal(root: Path, session: str, entries: int) -> tuple[str, Extent]:
    """A session's journal with so many entries; its path, and how far it goes."""
    path = f"sessions/2026-11-22/{session}/journal/000001.jsonl"
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f'{{"v":1,"n":{n}}}\n' for n in range(1, entries + 1)))
    return path, extent(file.read_bytes())


def cut(root: Path, session: str, entries: int, **more: Any) -> dict[str, Any]:
    """A cut of one session: its journal and its record."""
    path, whole = journal(root, session, entries)
    record = [f"sessions/2026-11-22/{session}/session.yaml", {"session_id": session, "last_n": entries}]
    said = {"cut": {"n_from": entries, "n_to": entries}, "message": f"run completed: {session}"}
    return {**said, "journals": {path: whole}, "records": [record], **more}
