"""Playbooks by the blocking client: a Definition for the draft, and versions with their releases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kheish.client.calls import (
    version_blame,
    version_diff,
    version_get,
    version_list,
    version_publish,
    version_release,
    version_text,
)
from kheish.client.shapes import Evidence, Json, Page, Version
from kheish.client.sync import Definitions, Kheish

KIND = "playbooks"


class Playbooks(Definitions):
    """Drafts as any Definition; versions are read from their tags."""

    def __init__(self, client: Kheish) -> None:
        super().__init__(client, KIND)

    def versions(self, name: str, **query: object) -> Page[Version]:
        """One page, newest first; `state` filters."""
        return self._send(version_list(name, query))

    def version(self, name: str, version: str, *, at: str | None = None) -> Version:
        return self._send(version_get(name, version, at))

    def version_text(self, name: str, version: str) -> str:
        """The manifest of a version, byte for byte."""
        return self._send(version_text(name, version)).text

    def publish(self, name: str, version: str, *, notes: str | None = None) -> Version:
        """Make the draft a version. Raises InvalidDefinition, VersionExists, DraftNotCommitted."""
        return self._send(version_publish(name, version, notes))

    def release(
        self, name: str, version: str, state: str, *, evidence: Sequence[Evidence] = (), **more: Any
    ) -> Version:
        """Move a version to another state; `more`: percent, reason, cancel_flows. Raises ReleaseStateConflict."""
        return self._send(version_release(name, version, state, evidence, more))

    def diff(self, name: str, before: str | None = None, after: str | None = None) -> Json:
        """What changed, by field and as text; without versions, from the newest to the draft."""
        return self._send(version_diff(name, before, after))

    def blame(self, name: str, version: str | None = None) -> Page[Json]:
        return self._send(version_blame(name, version))
