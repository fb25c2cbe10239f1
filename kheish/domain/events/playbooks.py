"""What can happen to the versions of a Playbook: entries of the stream `releases`, each of one Playbook."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.state.event import Event, frozen

RELEASES = "releases"
ReleaseState = Literal["published", "verified", "canary", "active", "revoked"]


@frozen
class EvidenceRef:
    """A reference to something that shows a thing to be so; `by` is who gave it, `at` when, `facts` what it led to."""

    kind: str
    id: str
    description: str | None = None
    by: str = "daemon"
    at: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@frozen
class PlaybookPublished(Event):
    """A version: an annotated tag, made by the daemon (`via` api) or by a person with git."""

    kind = "playbook.published"
    stream = RELEASES
    owned_by = "playbook_id"
    playbook_id: str
    version: str
    title: str
    digest: str
    tag: str
    tag_id: str  # the tag object: another one under the same name is another tag
    commit: str
    notes: str | None = None
    via: Literal["api", "git"] = "api"


@frozen
class PlaybookReleased(Event):
    """A version moved from one state to another (or a canary got another percent)."""

    kind = "playbook.released"
    stream = RELEASES
    owned_by = "playbook_id"
    playbook_id: str
    version: str
    before: ReleaseState
    state: ReleaseState
    percent: float | None = None
    evidence: tuple[EvidenceRef, ...] = field(default=())
    reason: str | None = None
    cancel_flows: bool = False  # with `revoked`: its running Flows are cancelled


@frozen
class PlaybookTampered(Event):
    """The tag of a version is not what was published: it was moved or removed, or its content is another."""

    kind = "playbook.tampered"
    stream = RELEASES
    owned_by = "playbook_id"
    playbook_id: str
    version: str
    reason: str


@frozen
class PlaybookIntact(Event):
    """The tag of a version is again what was published."""

    kind = "playbook.intact"
    stream = RELEASES
    owned_by = "playbook_id"
    playbook_id: str
    version: str
