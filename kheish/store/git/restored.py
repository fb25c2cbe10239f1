"""The mark of a state root that was restored: it starts paused, and pushes nothing until it has taken over.

It lies in `.git/kheish/`, which no clone and no push carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from kheish import ids
from kheish.store import files, lock

_NAME = "restored"


@dataclass(frozen=True, slots=True)
class Mark:
    """Since when; `pending` until the daemon's first start has journaled the pause."""

    at: str
    pending: bool


def read(root: Path) -> Mark | None:
    """The mark, or None where the root was made here or has taken over."""
    try:
        data = orjson.loads((lock.private(root) / _NAME).read_bytes())
        return Mark(str(data["at"]), bool(data["pending"]))
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Mark(ids.now(), True)  # damaged: rather paused once too often


def write(root: Path, *, pending: bool) -> None:
    """Set the mark, durably; the time of an older one stays."""
    there = read(root)
    data = {"at": there.at if there else ids.now(), "pending": pending}
    files.atomic_write(lock.private(root) / _NAME, orjson.dumps(data) + b"\n", fsync=True)


def clear(root: Path) -> None:
    """The root has taken over: it is as any other."""
    (lock.private(root) / _NAME).unlink(missing_ok=True)
