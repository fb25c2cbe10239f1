"""What callers get of versions of Playbooks."""

from __future__ import annotations

from typing import Any, Literal

from kheish.api.http.answer import Answer

State = Literal["published", "verified", "canary", "active", "revoked", "tampered"]


class ReleaseEvidence(Answer):
    """Something that shows that a version may be used."""

    kind: str
    id: str
    description: str | None
    by: str
    """Who gave it."""
    at: str | None
    facts: dict[str, Any]
    """What the reference led to then."""


class Version(Answer):
    """A version of a Playbook: an annotated tag, and how far it may be used."""

    playbook_id: str
    version: str
    state: State
    digest: str
    """sha256 over the canonical manifest and the files beside it."""
    tag: str
    commit: str
    """The commit that the tag is on; it holds the manifest."""
    published_by: str
    published_at: str
    percent: float | None
    """Of a canary: how much of the starts that name no version go to it."""
    manifest: dict[str, Any] | None
    """What it says, from the tag's tree; null in lists, and where the tag is tampered with."""
    title: str
    notes: str | None
    evidence: list[ReleaseEvidence]
    reason: str | None
    """Why it has its state, where somebody said so."""
    tampered: str | None
    """What is wrong with its tag."""
    via: Literal["api", "git"]
    """How it was published: through the daemon, or by a tag made with git."""
    files: dict[str, str] | None = None
    """The files beside the manifest, with their sha256; only of one version."""
    commands: list[str] | None = None
    """What its Flows run without asking, once it is released; only of one version."""
    live_flows: int | None = None
    """Where it was revoked just now: its Flows that had not ended."""
    n: int


class Side(Answer):
    """One side of a diff: a version, or the draft (null)."""

    version: str | None
    digest: str


class FieldChange(Answer):
    """One field that differs; items that have an `id` are compared by it."""

    path: str
    change: Literal["added", "removed", "changed"]
    before: Any
    after: Any


class PlaybookDiff(Answer):
    """What changed from one version to another."""

    playbook_id: str
    before: Side
    after: Side
    fields: list[FieldChange]
    text: str
    """The same as a unified diff of the files."""


class ManifestLine(Answer):
    """A line of a manifest, and the commit that it is from."""

    line: int
    text: str
    commit: str
    author: str
    time: int
    """Seconds since 1970."""
    message: str
