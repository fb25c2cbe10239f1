"""Events of Playbook versions: entries of the stream `releases`, each about one Playbook."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.state.event import Event, frozen

RELEASES = "releases"
ReleaseState = Literal["published", "verified", "canary", "active", "revoked"]


@frozen
class EvidenceRef:
    """A reference to evidence: `by` is its author, `at` its time, and `facts` describe the target."""

    kind: str
    id: str
    description: str | None = None
    by: str = "daemon"
    at: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@frozen
class PlaybookPublished(Event):
    """A published version: an annotated tag, made by the daemon (`via` api) or by a user with git."""

    kind = "playbook.published"
    stream = RELEASES
    owned_by = "playbook_id"
    headline = "playbook published: {playbook_id} {version}"
    playbook_id: str
    version: str
    title: str
    digest: str
    tag: str
    tag_id: str  # the tag object: another object under the same name is another tag
    commit: str
    notes: str | None = None
    via: Literal["api", "git"] = "api"


@frozen
class PlaybookReleased(Event):
    """The move of a version from one state to another (or a canary's new percentage)."""

    kind = "playbook.released"
    stream = RELEASES
    owned_by = "playbook_id"
    headline = "playbook {state}: {playbook_id} {version}"
    playbook_id: str
    version: str
    before: ReleaseState
    state: ReleaseState
    percent: float | None = None
    evidence: tuple[EvidenceRef, ...] = field(default=())
    reason: str | None = None
    cancel_flows: bool = False  # with `revoked`: cancels its running Flows


@frozen
class PlaybookTampered(Event):
    """A version whose tag differs from what was published: moved, removed, or with other content."""

    kind = "playbook.tampered"
    stream = RELEASES
    owned_by = "playbook_id"
    headline = "playbook tampered: {playbook_id} {version}"
    playbook_id: str
    version: str
    reason: str


@frozen
class PlaybookIntact(Event):
    """A version whose tag matches what was published again."""

    kind = "playbook.intact"
    stream = RELEASES
    owned_by = "playbook_id"
    headline = "playbook intact: {playbook_id} {version}"
    playbook_id: str
    version: str
