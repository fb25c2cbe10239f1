"""Versions of Playbooks and their releases: the published versions, their states, and the version that a start takes.

The draft is a file (`playbooks.manifest`), a version is an annotated tag, and this module is the ledger over the tags:
a fold of `journals/releases`. Verbs need the Playbook's versions in memory (`pins.owner`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kheish.domain import events
from kheish.domain.events import Draft, Entry, EvidenceRef, changed, frozen
from kheish.domain.events.playbooks import RELEASES as RELEASES, ReleaseState
from kheish.domain.playbooks.manifest import Playbook
from kheish.errors import (
    EvidenceRequired,
    Fault,
    Invalid,
    NoActiveVersion,
    NotFound,
    ReleaseStateConflict,
    VersionNotStartable,
    VersionTampered,
)
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State

#: the only legal moves
MOVES: Mapping[str, frozenset[ReleaseState]] = {
    "published": frozenset({"verified", "revoked"}),
    "verified": frozenset({"canary", "active", "revoked"}),
    "canary": frozenset({"active", "verified", "revoked"}),
    "active": frozenset({"verified", "revoked"}),
    "revoked": frozenset(),
}
#: the states that require evidence
NEED_EVIDENCE = frozenset({"verified", "canary", "active"})
TAG_PREFIX = "playbook/"
_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
    r"(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?(\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z",
    re.ASCII,
)
_LONGEST_VERSION = 100
_BUCKETS = 10_000


@frozen
class Version:
    """A version as recorded in the journal. `tampered` is the fault of its tag; None if it is intact."""

    playbook_id: str
    version: str
    state: ReleaseState
    title: str
    digest: str
    tag: str
    tag_id: str
    commit: str
    published_by: str
    published_at: str
    made: int
    n: int
    notes: str | None = None
    via: str = "api"
    percent: float | None = None
    evidence: tuple[EvidenceRef, ...] = ()
    reason: str | None = None
    cancel_flows: bool = False
    tampered: str | None = None

    @property
    def id(self) -> str:
        """The version's name in the index: `triage@1.0.0`."""
        return version_id(self.playbook_id, self.version)

    @property
    def shown_state(self) -> str:
        """The state, or `tampered`."""
        return self.state if self.tampered is None else "tampered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The content of a version, read from its tag's tree: `data` as written, `raw` the bytes, `files` beside it with
    their sha256."""

    version: Version
    manifest: Playbook
    data: Mapping[str, Any]
    raw: bytes
    files: Mapping[str, str]


def version_id(playbook_id: str, version: str) -> str:
    """Return a version's name in the index; no slug and no version contains an `@`."""
    return f"{playbook_id}@{version}"


def tag_of(playbook_id: str, version: str) -> str:
    """Return the name of a version's tag."""
    return f"{TAG_PREFIX}{playbook_id}/{version}"


def is_version(text: str) -> bool:
    """Return whether a text is a semantic version that can end a tag's name."""
    return bool(_SEMVER.match(text)) and len(text) <= _LONGEST_VERSION and not text.endswith(".lock")


def check_version(text: str) -> str:
    """Return the text. Raises Invalid for a text that is not a semantic version."""
    if not is_version(text):
        raise Invalid(
            f"{text[:_LONGEST_VERSION]!r} is not a version; write three numbers, such as 1.2.0 or 2.0.0-rc.1 "
            "(semver.org).",
            errors=[Fault("/version", "is not a semantic version")],
        )
    return text


# --- fold -------------------------------------------------------------------------------------------------------------

FOLDED = (events.PlaybookPublished, events.PlaybookReleased, events.PlaybookTampered, events.PlaybookIntact)


def fold(table: dict[str, Version], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    id = version_id(event.playbook_id, event.version)
    match event:
        case events.PlaybookPublished():
            table[id] = Version(
                playbook_id=event.playbook_id, version=event.version, state="published", title=event.title,
                digest=event.digest, tag=event.tag, tag_id=event.tag_id, commit=event.commit, notes=event.notes,
                via=event.via, published_by=entry.actor, published_at=entry.at, made=entry.n, n=entry.n,
            )  # fmt: skip
            return (id,)
        case _ if id not in table:
            return ()
        case events.PlaybookReleased():
            before = table[id]
            evidence = (*before.evidence, *(changed(one, at=entry.at) for one in event.evidence))
            table[id] = changed(
                before, state=event.state, percent=event.percent, evidence=evidence, reason=event.reason,
                cancel_flows=event.cancel_flows, n=entry.n,
            )  # fmt: skip
        case events.PlaybookTampered(reason=reason):
            table[id] = changed(table[id], tampered=reason, n=entry.n)
        case events.PlaybookIntact():
            table[id] = changed(table[id], tampered=None, n=entry.n)
    return (id,)


def view(version: Version) -> dict[str, Any]:
    """Return a version as the index and lists show it: without its content, which is in the tag's tree."""
    return {
        "playbook_id": version.playbook_id,
        "version": version.version,
        "state": version.shown_state,
        "digest": version.digest,
        "tag": version.tag,
        "commit": version.commit,
        "published_by": version.published_by,
        "published_at": version.published_at,
        "percent": version.percent,
        "manifest": None,
        "title": version.title,
        "notes": version.notes,
        "evidence": [_reference(one) for one in version.evidence],
        "reason": version.reason,
        "tampered": version.tampered,
        "released_state": version.state,
        "cancel_flows": version.cancel_flows,
        "tag_id": version.tag_id,
        "via": version.via,
        "made": version.made,
        "n": version.n,
    }


def _reference(one: EvidenceRef) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "id": one.id,
        "description": one.description,
        "by": one.by,
        "at": one.at,
        "facts": one.facts,
    }


def read(doc: Mapping[str, Any]) -> Version:
    """Return the version in a document of the index."""
    fields = {name: doc[name] for name in Version.__slots__ if name not in ("state", "evidence")}  # type: ignore[attr-defined]
    return Version(state=doc["released_state"], evidence=tuple(EvidenceRef(**one) for one in doc["evidence"]), **fields)


NOUN = Noun(
    name="version",
    cls=Version,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Version], entry),
    keep=always,  # a start may name any version, and some hundred of a Playbook are many
    view=view,
    status=lambda version: version.shown_state,
    read=read,
)


# --- reading ----------------------------------------------------------------------------------------------------------


def versions(state: State, playbook_id: str) -> dict[str, Version]:
    """Return the versions of a Playbook by version, oldest first; the owner must be loaded."""
    table = state.table(Version, f"{RELEASES}/{playbook_id}")
    return {one.version: one for one in sorted(table.values(), key=lambda one: one.made)}


def get(state: State, playbook_id: str, version: str) -> Version:
    """Return a version. Raises NotFound, which lists the existing versions."""
    known = versions(state, playbook_id)
    if version not in known:
        newest = ", ".join(list(known)[-5:])
        available = f"published: {newest}" if known else "nothing is published yet"
        raise NotFound(f"The playbook {playbook_id!r} has no version {version!r}: {available}.")
    return known[version]


def resolve(state: State, playbook_id: str, version: str | None, flow_id: str) -> Version:
    """Return the version that a start takes: the named version, else the canary by its percentage, else the active one.

    Raises NotFound, VersionTampered, VersionNotStartable, NoActiveVersion.
    """
    if version is not None:
        return _startable(get(state, playbook_id, version))
    known = versions(state, playbook_id)
    if not known:
        raise NotFound(f"Playbook {playbook_id!r} has no published version: kheish playbooks publish {playbook_id} …")
    active = next((one for one in known.values() if one.state == "active"), None)
    canaries = [one for one in known.values() if one.state == "canary" and one.tampered is None]
    place, upto = bucket(flow_id), 0.0
    for canary in canaries:
        upto += canary.percent or 0.0
        if place < upto:
            return canary
    if active is not None:
        return _startable(active)
    if canaries:  # without an active version, a start can only mean the canary
        return canaries[-1]
    states = ", ".join(f"{one.version} is {one.shown_state}" for one in list(known.values())[-5:])
    raise NoActiveVersion(
        f"The playbook {playbook_id!r} has no active version ({states}). Activate one, or name one that is verified: "
        f"{playbook_id}@VERSION."
    )


def bucket(flow_id: str) -> float:
    """Return the position of a Flow in [0, 100), which is always the same for the same id."""
    digest = hashlib.sha256(flow_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % _BUCKETS * 100.0 / _BUCKETS


def _startable(version: Version) -> Version:
    name = f"{version.playbook_id}@{version.version}"
    if version.tampered is not None:
        raise VersionTampered(f"{name} cannot be started: {version.tampered}")
    if version.state not in NEED_EVIDENCE:
        if version.state == "revoked":
            raise VersionNotStartable(f"{name} is revoked and cannot be started. Name another version.")
        more = f"kheish playbooks release {name} verified --attest …"
        raise VersionNotStartable(f"{name} is published, but not verified: {more}.")
    return version


# --- verbs ------------------------------------------------------------------------------------------------------------


def publish(state: State, event: events.PlaybookPublished, *, by: str) -> Version:
    """Record a version whose tag exists."""
    state.append(event.on(by=by))
    return get(state, event.playbook_id, event.version)


def check_release(version: Version, to: str, *, percent: float | None, evidence: Sequence[EvidenceRef]) -> None:
    """Check that a version may make a move, before any lookup.

    Raises ReleaseStateConflict, VersionTampered, Invalid, EvidenceRequired.
    """
    name = f"{version.playbook_id}@{version.version}"
    is_new_percent = version.state == to == "canary" and percent != version.percent
    if to not in MOVES[version.state] and not is_new_percent:
        ways = " or ".join(sorted(MOVES[version.state]))
        more = f"it can become {ways}" if ways else "this state is final: publish its content as another version"
        raise ReleaseStateConflict(
            f"{name} is {version.state} and cannot become {to}; {more}.", state=version.state, wanted=to
        )
    if version.tampered is not None and to != "revoked":
        raise VersionTampered(f"{name} can only be revoked: {version.tampered}")
    if to == "canary" and (percent is None or not 0 < percent <= 100):
        raise Invalid(
            "A canary needs a percent above 0 and up to 100.", errors=[Fault("/percent", "0 < percent <= 100")]
        )
    if to != "canary" and percent is not None:
        raise Invalid("Only a canary has a percent.", errors=[Fault("/percent", f"on {to}")])
    if to in NEED_EVIDENCE and not evidence and not version.evidence:
        raise EvidenceRequired(
            f"{name} needs evidence to become {to}: a run, an approval, a commit … (--evidence run:ID), or a person's "
            "attestation (--attest TEXT).",
            errors=[Fault("/evidence", "is empty")],
        )


def release(
    state: State,
    playbook_id: str,
    version: str,
    to: ReleaseState,
    *,
    by: str,
    percent: float | None = None,
    evidence: Sequence[EvidenceRef] = (),
    reason: str | None = None,
    cancel_flows: bool = False,
) -> Version:
    """Move a version to another state; a version that was active gives way.

    Raises the errors of `check_release`, and NotFound.
    """
    known = versions(state, playbook_id)
    one = get(state, playbook_id, version)
    check_release(one, to, percent=percent, evidence=evidence)
    if to == "canary":
        _check_share(known.values(), one, percent or 0.0)
    former = [other for other in known.values() if to == "active" and other.state == "active" and other is not one]
    drafts: list[Draft] = [_move(other, "verified", reason=f"{version} was activated").on(by=by) for other in former]
    move = _move(
        one, to, percent=percent, evidence=tuple(evidence), reason=reason,
        cancel_flows=cancel_flows and to == "revoked",
    )  # fmt: skip
    state.append(*drafts, move.on(by=by))
    return get(state, playbook_id, version)


def _move(version: Version, to: ReleaseState, **more: Any) -> events.PlaybookReleased:
    return events.PlaybookReleased(
        playbook_id=version.playbook_id, version=version.version, before=version.state, state=to, **more
    )


def _check_share(known: Iterable[Version], one: Version, percent: float) -> None:
    """Check that all canaries together take at most 100 % of the starts."""
    others = sum(other.percent or 0.0 for other in known if other.state == "canary" and other.id != one.id)
    if others + percent > 100:
        raise Invalid(
            f"Other canaries already have {others:g} % of the starts; {percent:g} % more would exceed 100 %.",
            errors=[Fault("/percent", f"at most {100 - others:g}")],
        )
