"""The services of the API, handed in by the layer above; it locates nothing by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from kheish.api.http.feed import Feed
from kheish.api.http.throttle import Refusals
from kheish.api.http.waiting import Closing, Waits
from kheish.api.metrics.measures import Measures
from kheish.auth.accounts import ProviderAccounts
from kheish.auth.broker import Broker
from kheish.auth.logins import Logins
from kheish.auth.tokens import Principal, Tokens
from kheish.authoring.editor import Editor
from kheish.authoring.playbooks.versions import Playbooks
from kheish.authoring.stacks.stacks import Stacks
from kheish.config import Config
from kheish.domain.approvals import Approval, Bound
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.definitions import Definition
from kheish.domain.keys import Key
from kheish.jobs.commands import Commands
from kheish.runtime.agents.worktrees import Worktrees
from kheish.runtime.assets.service import Assets
from kheish.runtime.debug.capture import Capture
from kheish.runtime.hooks.service import Hooks
from kheish.runtime.mcp.calls import Calls
from kheish.runtime.memory.recall import Memory
from kheish.runtime.observations.service import Observations
from kheish.runtime.skills.service import Skills
from kheish.runtime.workers.pool import Workers
from kheish.state.state import State
from kheish.store.bus import Bus
from kheish.store.git.revisions import Moment


class Git(Protocol):
    """A reader of the repository, off the event loop; a Protocol, since the daemon has the git worker."""

    async def log(self, limit: int, *, path: str | None = None, rev: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return commits that changed `path`, newest first, from `rev` (`store.git.history.log`). Raises NotFound."""

    async def head(self) -> Mapping[str, Any]:
        """Return the positions of the branch and of the daemon's last commit."""


class Past(Protocol):
    """A reader of past states, off the event loop; a Protocol, since the daemon has the git worker."""

    async def resolve(self, rev: str) -> Moment:
        """Return the moment of a revision. Raises Invalid, UnknownEvent, NotFound."""

    async def holding(self, n: int) -> str | None:
        """Return the first commit that holds event `n`; None if it is not committed yet."""

    async def read(self, commit: str, path: str) -> bytes:
        """Return a file as of a commit. Raises NotFound."""

    async def files(self, commit: str, folder: str) -> Mapping[str, bytes]:
        """Return the files in a folder as of a commit, by their names; none if there is no such folder."""

    async def blame(self, path: str, rev: str | None) -> tuple[str, Sequence[Mapping[str, Any]]]:
        """Return a commit (None: the newest), and the origin of each line of a user's file in it."""

    async def folder(self, commit: str, session_id: str) -> str | None:
        """Return the path of a session's folder in a commit."""

    async def commits(
        self, session_id: str | None, path: str, place: str | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return commits that changed a session's folder, newest first.

        Each has its `place`: a page that is requested there begins with it. `session_id` is None if the session is
        deleted. Raises InvalidCursor.
        """


class Backup(Protocol):
    """The backup, which pushes the state root with the user's own git; a Protocol, since the daemon runs it."""

    async def push(self) -> Mapping[str, Any]:
        """Push now, and return the state of the backup. Raises BackupFailed, BackupDiverged, TakenOver, Conflict."""

    async def take_over(self) -> None:
        """Write a new incarnation to the remote. Raises as `push`."""


class Upkeep(Protocol):
    """Maintenance of the state root as a whole; a Protocol, since the daemon has the children."""

    def rewound(self) -> str | None:
        """Return why all actions are halted if the branch was moved back; None otherwise."""

    async def decide(self, choice: Literal["put_back", "accept"]) -> Mapping[str, Any]:
        """Decide how to continue after the branch was moved back. Raises Conflict."""

    async def gc(self) -> Mapping[str, Any]:
        """Pack git's objects. Raises Unavailable."""

    async def reindex(self) -> Mapping[str, Any]:
        """Rebuild the index."""


class Workspaces(Protocol):
    """The folders in which the tools of sessions act; a Protocol of `kheish.daemon.workspaces`, a layer above."""

    async def default(self, session_id: str, *, is_own: bool = False) -> Path: ...

    async def choose(self, named: str | None, caller: Principal, session_id: str) -> Path: ...


class Inspector(Protocol):
    """Access to tools and sandbox; a Protocol of `kheish.daemon.inspector`, a layer above."""

    async def check(self, tool: str, arguments: Mapping[str, Any], session_id: str | None) -> Mapping[str, Any]:
        """Return the decision on a call, with its reason. Raises NotFound for a missing tool or session."""

    async def matrix(self, session_id: str) -> Mapping[str, Any]:
        """Return the decision on the calls of each tool in a session. Raises NotFound for a missing session."""

    async def bound(self, approval: Approval, arguments: Mapping[str, Any]) -> Bound:
        """Return the binding of an approval of this call with other arguments. Raises Invalid if they do not fit."""


class Secrets(Protocol):
    """The vault's keeper; no method returns a value. A Protocol of `kheish.daemon.secrets`, a layer above."""

    def view(self) -> list[dict[str, Any]]:
        """Return all slots, by name."""

    def show(self, slot: str) -> dict[str, Any]:
        """Return one slot. Raises NotFound."""

    async def put(
        self, slot: str, value: str, description: str | None, expected: str | None = None, *, by: str
    ) -> bool:
        """Set or rotate a slot, and return whether it is new; `expected` as in `preconditions.check`. Raises Invalid,
        PreconditionFailed, IdentityMissing, Unavailable."""

    async def remove(self, slot: str, *, by: str) -> None:
        """Remove a slot. Raises NotFound, SecretReferenced, Unavailable."""

    async def revealed(self, slot: str, *, by: str) -> None:
        """Record in the audit that a value was shown to a person. Raises NotFound."""

    async def rekey(self, *, by: str) -> list[dict[str, Any]]:
        """Re-encrypt all slots for the current recipients. Raises as `put`, SecretUnreadable."""


class Schedules(Protocol):
    """The firing of schedules."""

    async def trigger(self, schedule_id: str, *, by: str, key: Key | None = None) -> str:
        """Fire now, and return the id of the fire. Raises NotFound."""


class Received(Protocol):
    """The answer to an outside request."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> Mapping[str, Any]: ...

    @property
    def n(self) -> int | None: ...


class Ingress(Protocol):
    """The reception of outside requests; a Protocol of `kheish.daemon.ingress`, a layer above."""

    async def receive(
        self, connector_id: str, headers: Mapping[str, str], body: bytes, *, is_loopback: bool, address: str
    ) -> Received:
        """Answer a request. Raises SignatureInvalid, TooMany, TooLarge, NotFound, ConnectorNotReady."""

    async def test(
        self, connector_id: str, body: str | None, event: str | None = None
    ) -> tuple[int, Mapping[str, Any]]:
        """Send a signed sample, and return the status and the answer."""

    async def state_of(self, one: Definition) -> tuple[str, str | None]:
        """Return the state of a connector, and the reason why it fails or is not ready."""

    @property
    def rejections(self) -> Mapping[str, int]:
        """The numbers of requests whose proof was refused since the daemon started, by connector."""

    async def missing(self, connector_id: str, file: ConnectorFile) -> str | None:
        """Return the reason why what this file names could take nothing in now; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The dependencies of the API, handed to `app.build`.

    `ready` returns in one sentence why the daemon is not ready, or None if it is. `secure`: browsers reach it by HTTPS
    only, wherever TLS ends.
    """

    state: State
    bus: Bus
    tokens: Tokens
    logins: Logins
    accounts: ProviderAccounts
    config: Callable[[], Config]
    status: Callable[[], Mapping[str, Any]]
    problems: Callable[[], Sequence[Mapping[str, Any]]]
    git: Git
    past: Past
    backup: Backup
    editor: Editor
    stacks: Stacks
    inspector: Inspector
    mcp: Calls
    assets: Assets
    observations: Observations
    hooks: Hooks
    debug: Capture
    measures: Measures
    memory: Memory
    skills: Skills
    secrets: Secrets
    broker: Broker
    playbooks: Playbooks
    schedules: Schedules
    ingress: Ingress
    upkeep: Upkeep
    workspaces: Workspaces
    feed: Feed
    waits: Waits
    jobs: Commands
    refusals: Refusals
    worktrees: Worktrees | None = None
    workers: Workers | None = None
    ready: Callable[[], str | None] = lambda: None
    logs: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    closing: Closing = field(default_factory=Closing)
    #: answered requests, by method and status
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    allow_bypass: bool = False
    secure: bool = False
