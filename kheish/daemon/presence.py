"""`.kheish/`: where the daemon is, and the local token. Somebody may delete it (`git clean -fdx`): it is made again."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from kheish import resources
from kheish.daemon.status import Facts
from kheish.store import files


def note(root: Path, facts: Facts) -> None:
    """Say where the daemon is, to other processes on this machine."""
    about = {
        "pid": os.getpid(),
        "url": facts.url,
        "started_at": facts.started_at,
        "version": resources.version(),
    }
    files.atomic_write(root / ".kheish" / "daemon.json", orjson.dumps(about), fsync=False)


def restore(root: Path, facts: Facts) -> bool:
    """Write again what somebody deleted; False where the index is gone too."""
    folder = root / ".kheish"
    if not (folder / "token").exists():
        files.atomic_write(folder / "token", f"{facts.token}\n".encode(), fsync=True, mode=0o600)
    if facts.starting is None and not (folder / "daemon.json").exists():
        note(root, facts)
    return (folder / "index.sqlite").exists()
