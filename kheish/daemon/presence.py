"""`.kheish/`: the address of the daemon, and the local token. It is recreated after a `git clean -fdx`."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import orjson

from kheish import resources
from kheish.daemon.status import Facts
from kheish.errors import Unavailable
from kheish.store import files
from kheish.store.log.index import Reader


def note(root: Path, facts: Facts) -> None:
    """Publish the daemon's address to other processes on this machine."""
    about = {
        "pid": os.getpid(),
        "url": facts.url,
        "started_at": facts.started_at,
        "version": resources.version(),
        **({"certificate": facts.certificate} if facts.certificate else {}),
    }
    files.atomic_write(root / ".kheish" / "daemon.json", orjson.dumps(about), fsync=False)


def restore(root: Path, facts: Facts, index: Reader) -> bool:
    """Rewrite files that were deleted. Returns False if the index is gone too. A damaged index is removed."""
    folder = root / ".kheish"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (folder / "token").exists():
        files.atomic_write(folder / "token", f"{facts.token}\n".encode(), fsync=True, mode=0o600)
    if facts.starting is None and not (folder / "daemon.json").exists():
        note(root, facts)
    try:
        index.newest()
    except Unavailable:
        return False
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            return True  # it is busy, or being made
        (folder / "index.sqlite").unlink(missing_ok=True)
        return False
    return True
