"""The intent of applying a stack, on disk before the first file is written: after a kill, a start completes it."""

from __future__ import annotations

import base64
import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from kheish.authoring.stacks.plan import File
from kheish.errors import InsufficientStorage, KheishError, Unavailable
from kheish.store.files import atomic_write, fsync_folder, inside

_PLACE = Path(".git", "kheish", "applying.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The files to write (None: to remove), and the stacks that files belong to afterwards."""

    stack: str
    by: str
    files: Mapping[str, File | None]
    labels: Mapping[str, str | None]


def write(root: Path, begun: Intent) -> None:
    """Note the intent. Raises InsufficientStorage, Unavailable. Blocks on disk."""
    files = {
        path: None if file is None else [base64.b64encode(file.content).decode(), file.executable]
        for path, file in begun.files.items()
    }
    note = {"stack": begun.stack, "by": begun.by, "files": files, "labels": dict(begun.labels)}
    try:
        atomic_write(root / _PLACE, orjson.dumps(note), fsync=True)
    except OSError as error:
        raise _refused(_PLACE.as_posix(), error) from error


def read(root: Path) -> Intent | None:
    """Return the intent that was not completed. Blocks on disk."""
    try:
        note = orjson.loads((root / _PLACE).read_bytes())
    except FileNotFoundError:
        return None
    files = {
        path: None if one is None else File(base64.b64decode(one[0]), one[1]) for path, one in note["files"].items()
    }
    return Intent(stack=note["stack"], by=note["by"], files=files, labels=note["labels"])


def remove(root: Path) -> None:
    """Forget the intent, which is complete. Blocks on disk."""
    (root / _PLACE).unlink(missing_ok=True)


def write_files(root: Path, begun: Intent) -> None:
    """Write and remove the files. Raises InsufficientStorage, Unavailable. Blocks on disk."""
    for path, file in begun.files.items():
        try:
            place = inside(root, path)
            if file is None:
                place.unlink(missing_ok=True)
                if place.parent.is_dir():
                    fsync_folder(place.parent)
            else:
                atomic_write(place, file.content, fsync=True, mode=0o755 if file.executable else 0o644)
        except OSError as error:
            raise _refused(path, error) from error


def _refused(path: str, error: OSError) -> KheishError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InsufficientStorage(f"{path} cannot be written: the disk is full.")
    return Unavailable(f"{path} cannot be written: {error.strerror}.")
