"""Rejected tags of Playbook versions, each with the reason, kept over restarts: a rejected tag is not read again.

The file in `.git/kheish` is valid for one version of Kheish only: another version may accept the tag.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from kheish import resources
from kheish.store import files, lock

_NAME = "refused-tags.json"


class RefusedTags:
    """The rejected tags: tag → (object, reason)."""

    def __init__(self, root: Path) -> None:
        self._path = lock.private(root) / _NAME
        self._tags: dict[str, tuple[str, str]] = {}
        self._is_written = True

    def read(self) -> dict[str, tuple[str, str]]:
        """Return the tags that an earlier start has rejected. Blocks on disk."""
        try:
            value: Any = orjson.loads(self._path.read_bytes())
            if value["version"] == resources.version():
                self._tags = {str(tag): (str(id), str(why)) for tag, (id, why) in value["tags"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._tags = {}  # a cache: the tags are checked again
        return dict(self._tags)

    def note(self, tag: str, tag_id: str, why: str) -> None:
        """Record that a tag was rejected."""
        self._is_written = self._is_written and self._tags.get(tag) == (tag_id, why)
        self._tags[tag] = tag_id, why

    def forget(self, tag: str) -> None:
        """Remove a tag that is missing or has changed."""
        self._is_written = self._tags.pop(tag, None) is None and self._is_written

    def write(self) -> None:
        """Write the changes. Blocks on disk."""
        if not self._is_written:
            raw = orjson.dumps({"version": resources.version(), "tags": self._tags})
            files.atomic_write(self._path, raw, fsync=False)
            self._is_written = True
