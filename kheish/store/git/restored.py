"""The mark of a restored state root: it starts paused, and pushes nothing until it has taken over.

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
    """The time of the restore; `pending` until the daemon's first start has journaled the pause."""

    at: str
    pending: bool


def read(root: Path) -> Mark | None:
    """Return the mark, or None if the root was made here or has taken over."""
    try:
        data = orjson.loads((lock.private(root) / _NAME).read_bytes())
        return Mark(str(data["at"]), bool(data["pending"]))
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Mark(ids.now(), True)  # damaged: a needless pause is the lesser evil


def write(root: Path, *, pending: bool) -> None:
    """Set the mark, durably; the time of an existing mark stays."""
    mark = read(root)
    data = {"at": mark.at if mark else ids.now(), "pending": pending}
    files.atomic_write(lock.private(root) / _NAME, orjson.dumps(data) + b"\n", fsync=True)


def clear(root: Path) -> None:
    """Remove the mark of a root that has taken over."""
    (lock.private(root) / _NAME).unlink(missing_ok=True)
