"""Artifacts on disk: `.kheish/debug/<run>/<artifact>`, a line of JSON that describes it, then its content.

The oldest artifacts of a run go when there are too many. All functions block on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from kheish.errors import NotFound
from kheish.store.files import atomic_write

FOLDER = Path(".kheish", "debug")
ARTIFACT_BYTES = 4 * 1024 * 1024
RUN_BYTES = 32 * 1024 * 1024
RUN_ARTIFACTS = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}\Z")
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The description of an artifact. `bytes` and `sha256` are those of the content that a reader gets."""

    artifact_id: str
    session_id: str
    sha256: str
    bytes: int
    original_bytes: int
    truncated: bool
    encrypted: bool
    at: str

    def view(self) -> dict[str, Any]:
        """Return the card as a response has it."""
        return {name: value for name, value in asdict(self).items() if name != "session_id"}


def name_of(*parts: str | int) -> str:
    """Return a safe id of these parts: `turn-0001-attempt-0001-model-request`."""
    words = (f"{part:04d}" if isinstance(part, int) else re.sub(r"[^a-z0-9._-]+", "-", part.lower()) for part in parts)
    return "-".join(words)[:200].strip("-._") or "artifact"


def card_of(name: str, session_id: str, kept: bytes, whole: int, truncated: bool, *, encrypted: bool, at: str) -> Card:
    """Return the card of a content that may be kept in part; `whole` is its size."""
    return Card(
        artifact_id=name,
        session_id=session_id,
        sha256=hashlib.sha256(kept).hexdigest(),
        bytes=len(kept),
        original_bytes=whole,
        truncated=truncated,
        encrypted=encrypted,
        at=at,
    )


def write(root: Path, run_id: str, card: Card, stored: bytes) -> None:
    """Store an artifact, and remove the oldest ones beyond the limits of a run. Raises OSError."""
    folder = root / FOLDER / run_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic_write(folder / card.artifact_id, orjson.dumps(asdict(card)) + b"\n" + stored, fsync=False, mode=0o600)
    _bound(folder)


def _bound(folder: Path) -> None:
    found = sorted(_files(folder), key=lambda one: one[0].st_mtime_ns)
    size = sum(status.st_size for status, _ in found)
    while found and (len(found) > RUN_ARTIFACTS or size > RUN_BYTES):
        status, path = found.pop(0)
        path.unlink(missing_ok=True)
        size -= status.st_size


def listing(root: Path, run_id: str) -> list[Card]:
    """Return the artifacts of a run, oldest first."""
    found = sorted(_files(root / FOLDER / run_id), key=lambda one: (one[0].st_mtime_ns, one[1].name))
    cards = (_head(path) for _, path in found)
    return [card for card in cards if card is not None]


def read(root: Path, run_id: str, name: str) -> tuple[Card, bytes]:
    """Return an artifact, and its content as it is stored. Raises NotFound."""
    path = root / FOLDER / run_id / name
    try:
        if not _NAME.match(name) or not _NAME.match(run_id.lower()) or path.is_symlink():
            raise FileNotFoundError(name)
        head, _, stored = path.read_bytes().partition(b"\n")
        return Card(**orjson.loads(head)), stored
    except (OSError, ValueError, TypeError) as error:
        raise NotFound(f"The run {run_id} has no debug artifact {name!r}: kheish runs debug {run_id}") from error


def remove_old(root: Path, seconds: float) -> None:
    """Remove the runs whose newest artifact is older."""
    for folder in _folders(root):
        newest = max((status.st_mtime for status, _ in _files(folder)), default=0.0)
        if newest < time.time() - seconds:
            shutil.rmtree(folder, ignore_errors=True)


def remove_session(root: Path, session_id: str) -> None:
    """Remove the artifacts of the runs of a session."""
    for folder in _folders(root):
        cards = (_head(path) for _, path in _files(folder))
        if any(card is not None and card.session_id == session_id for card in cards):
            shutil.rmtree(folder, ignore_errors=True)


def _folders(root: Path) -> Iterator[Path]:
    try:
        yield from [path for path in (root / FOLDER).iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return


def _files(folder: Path) -> Iterator[tuple[os.stat_result, Path]]:
    """Yield the artifacts of a run. Another one may be stored meanwhile, and remove the oldest."""
    try:
        paths = [path for path in folder.iterdir() if _NAME.match(path.name)]
    except OSError:
        return
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield status, path


def _head(path: Path) -> Card | None:
    try:
        with path.open("rb") as file:
            return Card(**orjson.loads(file.readline(_HEAD_BYTES)))
    except (OSError, ValueError, TypeError):
        return None
