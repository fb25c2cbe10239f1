"""Tags that are no versions of Playbooks, each with the reason, kept over restarts: what was refused is not read again.

A file in `.git/kheish`, of one version of Kheish: another one may read what this one could not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from kheish import resources
from kheish.store import files, lock

_NAME = "refused-tags.json"


class RefusedTags:
    """What was refused: tag → (object, reason)."""

    def __init__(self, root: Path) -> None:
        self._path = lock.private(root) / _NAME
        self._tags: dict[str, tuple[str, str]] = {}
        self._is_written = True

    def read(self) -> dict[str, tuple[str, str]]:
        """Return what an earlier start has refused. Blocks on disk."""
        try:
            found: Any = orjson.loads(self._path.read_bytes())
            if found["version"] == resources.version():
                self._tags = {str(tag): (str(id), str(why)) for tag, (id, why) in found["tags"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._tags = {}  # a cache: they are looked at again
        return dict(self._tags)

    def note(self, tag: str, tag_id: str, why: str) -> None:
        """Keep that a tag was refused."""
        self._is_written = self._is_written and self._tags.get(tag) == (tag_id, why)
        self._tags[tag] = tag_id, why

    def forget(self, tag: str) -> None:
        """Drop a tag that is gone, or is another one now."""
        self._is_written = self._tags.pop(tag, None) is None and self._is_written

    def write(self) -> None:
        """Write what has changed. Blocks on disk."""
        if not self._is_written:
            raw = orjson.dumps({"version": resources.version(), "tags": self._tags})
            files.atomic_write(self._path, raw, fsync=False)
            self._is_written = True
