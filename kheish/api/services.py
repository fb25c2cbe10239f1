"""What the API is given by those above it; it finds nothing by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from kheish.api.http.feed import Feed
from kheish.api.http.throttle import Refusals
from kheish.api.http.waiting import Closing, Waits
from kheish.auth.broker import Broker
from kheish.auth.logins import Logins
from kheish.auth.tokens import Principal, Tokens
from kheish.config import Config
from kheish.domain.approvals import Approval, Bound
from kheish.domain.definitions import Definition
from kheish.domain.events.playbooks import EvidenceRef, ReleaseState
from kheish.domain.playbooks.versions import Released, Version
from kheish.state.state import State
from kheish.store.bus import Bus
from kheish.store.git.revisions import Moment


class Git(Protocol):
    """Reads the repository, off the event loop."""

    async def log(self, limit: int, *, path: str | None = None, rev: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Commits newest first (`store.git.history.log`), from `rev` on, that changed `path`. Raises NotFound."""

    async def head(self) -> Mapping[str, Any]:
        """Where the branch and the daemon's last commit are."""


class Past(Protocol):
    """Reads what was, off the event loop."""

    async def resolve(self, rev: str) -> Moment:
        """What a revision stands for. Raises Invalid, UnknownEvent, NotFound."""

    async def holding(self, n: int) -> str | None:
        """The first commit that holds event `n`; None where none does yet."""

    async def read(self, commit: str, path: str) -> bytes:
        """A file as a commit has it. Raises NotFound."""

    async def blame(self, path: str, rev: str | None) -> tuple[str, Sequence[Mapping[str, Any]]]:
        """A commit (None: the newest), and who wrote each line of a file of people's there."""

    async def folder(self, commit: str, session_id: str) -> str | None:
        """Where a commit has a session's folder."""

    async def commits(
        self, session_id: str | None, path: str, place: str | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Commits that changed a session's folder, newest first, each with its `place`: a page that is asked for there
        begins with it. `session_id`: None where it is deleted. Raises InvalidCursor."""


class Backup(Protocol):
    """Pushes the state root with the user's own git."""

    async def push(self) -> Mapping[str, Any]:
        """Push now; how the backup is then. Raises BackupFailed, BackupDiverged, TakenOver, Conflict."""

    async def take_over(self) -> None:
        """Write a new incarnation to the remote. Raises as `push`."""


class Upkeep(Protocol):
    """What is done to the state root as a whole."""

    def rewound(self) -> str | None:
        """Why nothing acts, where the branch was found moved back; None where it was not."""

    async def decide(self, choice: Literal["put_back", "accept"]) -> Mapping[str, Any]:
        """The way on then. Raises Conflict."""

    async def gc(self) -> Mapping[str, Any]:
        """Pack git's objects. Raises Unavailable."""

    async def reindex(self) -> Mapping[str, Any]:
        """Make the index again."""


class Editor(Protocol):
    """Writes Definitions for callers. `media` is `application/json` or `application/yaml`; `by` the principal."""

    async def put(self, kind: str, id: str, raw: bytes, media: str, *, if_match: str | None, by: str) -> bool:
        """Make or replace a definition, and take it in force; True where it is new.

        Raises InvalidDefinition, PreconditionFailed (with `etag` of the current one where there is one).
        """

    async def delete(self, kind: str, id: str, *, if_match: str | None, by: str) -> None:
        """Remove one. Raises NotFound, PreconditionFailed, DefinitionReferenced."""

    async def validate(self, kind: str, id: str | None, raw: bytes, media: str) -> Sequence[Mapping[str, Any]]:
        """What is wrong with it, as `GET /v1/problems` shows problems; nothing is changed."""


class Workspaces(Protocol):
    """Which folders the tools of sessions act in (`kheish.daemon.workspaces`)."""

    async def default(self, session_id: str) -> Path: ...

    async def choose(self, named: str | None, caller: Principal, session_id: str) -> Path: ...


class Inspector(Protocol):
    """Knows tools and sandbox, which the API does not."""

    async def check(self, tool: str, arguments: Mapping[str, Any], session_id: str | None) -> Mapping[str, Any]:
        """What a call would meet, and why. Raises NotFound for a tool or session that is not there."""

    async def bound(self, approval: Approval, arguments: Mapping[str, Any]) -> Bound:
        """What an approval of this call with other arguments would be bound to. Raises Invalid where these do not fit
        the tool."""


class Secrets(Protocol):
    """Keeps the vault; nothing of it gives a value away."""

    def view(self) -> list[dict[str, Any]]:
        """All slots, by name."""

    def show(self, slot: str) -> dict[str, Any]:
        """One slot. Raises NotFound."""

    async def put(self, slot: str, value: str, description: str | None, *, by: str) -> bool:
        """Set or rotate a slot; True where it is new. Raises Invalid, IdentityMissing, Unavailable."""

    async def remove(self, slot: str, *, by: str) -> None:
        """Remove a slot. Raises NotFound, SecretReferenced, Unavailable."""

    async def revealed(self, slot: str, *, by: str) -> None:
        """Note in the audit that a value was shown to a person. Raises NotFound."""

    async def rekey(self, *, by: str) -> list[dict[str, Any]]:
        """Encrypt all slots anew for the recipients as they are now. Raises as `put`, SecretUnreadable."""


class Playbooks(Protocol):
    """Versions of Playbooks and their releases."""

    async def publish(self, playbook_id: str, version: str, *, notes: str | None, by: str) -> tuple[Version, bool]:
        """Make the draft a version; True where it is new.

        Raises NotFound, InvalidDefinition, VersionExists, DraftNotCommitted.
        """

    async def version(self, playbook_id: str, version: str) -> Version:
        """One version. Raises NotFound."""

    async def read(self, playbook_id: str, version: str) -> Released:
        """A version with what it says, from its tag's tree. Raises NotFound, VersionTampered."""

    async def at(self, playbook_id: str, n: int) -> Sequence[Version]:
        """The versions that there were at event `n`, oldest first."""

    async def draft(self, playbook_id: str) -> tuple[Definition, Mapping[str, bytes]]:
        """The draft in force, and the files beside it. Raises NotFound."""

    async def file(self, version: Version, path: str) -> bytes:
        """A file beside the manifest of a version. Raises NotFound."""

    async def blame(self, playbook_id: str, version: str | None) -> Sequence[Mapping[str, Any]]:
        """Each line of the manifest (of the draft as committed) with the commit that it is from. Raises NotFound."""

    async def release(
        self,
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
        """Move a version. Raises NotFound, ReleaseStateConflict, VersionTampered, EvidenceRequired,
        EvidenceUnresolved, Invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Handed to `app.build`.

    `ready` says in one sentence why the daemon is not ready, None where it is. `secure`: browsers reach it by HTTPS
    only, whoever ends that.
    """

    state: State
    bus: Bus
    tokens: Tokens
    logins: Logins
    config: Callable[[], Config]
    status: Callable[[], Mapping[str, Any]]
    problems: Callable[[], Sequence[Mapping[str, Any]]]
    git: Git
    past: Past
    backup: Backup
    editor: Editor
    inspector: Inspector
    secrets: Secrets
    broker: Broker
    playbooks: Playbooks
    upkeep: Upkeep
    workspaces: Workspaces
    feed: Feed
    waits: Waits
    refusals: Refusals
    ready: Callable[[], str | None] = lambda: None
    logs: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    closing: Closing = field(default_factory=Closing)
    #: requests that were answered, by method and status
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    allow_bypass: bool = False
    secure: bool = False
