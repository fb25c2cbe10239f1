"""Events of sessions and of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kheish.domain.shown import View
from kheish.state.event import Event, Text, frozen


@frozen
class SessionCreated(Event):
    kind = "session.created"
    headline = "session created: {session}"
    opens = True
    path: str  # the session's folder in the state root
    agent_id: str
    settings: dict[str, Any]


@frozen
class SessionForked(SessionCreated):
    """A session that begins with the history of another, up to its entry `seq` (event `at_n`), in `forked/`.

    `commit` is the first commit that holds that entry; None if it was not committed yet.
    """

    kind = "session.forked"
    headline = "session forked: {session} from {origin} at {seq}"
    inherits = True
    written: ClassVar[Mapping[str, str]] = {"origin": "from"}
    origin: Annotated[str, Field(alias="from")]
    seq: int
    at_n: int
    commit: str | None
    segments: int  # files in forked/
    spills: tuple[str, ...] = ()  # payloads that were copied
    tainted_by: str | None = None  # as in the source session at that time
    asset_ids: tuple[str, ...] = ()  # of the inherited messages


@frozen
class SessionDeleted(Event):
    """The removal of a session's folder from the tree. Its id is never reused; git's history keeps the folder."""

    kind = "session.deleted"
    stream = "daemon"
    headline = "session deleted: {session_id}"
    session_id: str
    path: str
    made: int  # the event that created it
    last_n: int


@frozen
class SessionUpdated(Event):
    kind = "session.updated"
    changes: dict[str, Any]


@frozen
class CompactionRequested(Event):
    """The request of a user to summarise the conversation at the beginning of the next run."""

    kind = "session.compaction_requested"
    reason: str | None = None


@frozen
class SessionEnded(Event):
    kind = "session.ended"
    headline = "session ended: {session}"
    reason: str | None = None


@frozen
class RuleAdded(Event):
    kind = "session.rule_added"
    rule: dict[str, Any]


@frozen
class Item(View):
    """A part of the request: text, a stored asset, or observations."""

    shown_as = "RunItem"
    type: Literal["text", "asset", "observations"] = "text"
    text: Text | None = None
    asset_id: str | None = None
    observation_ids: tuple[str, ...] = ()


@frozen
class Request(View):
    """The request, and its author; `metadata` is the caller's own."""

    shown_as = "RunRequest"
    actor: str
    source: str
    items: tuple[Item, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


@frozen
class Limits(View):
    """The limits that end a run: counts, seconds, tokens, US dollars. None: no limit."""

    shown_as = "RunLimits"
    turns: int = 500
    wall_time: float | None = None
    model_calls: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None


@frozen
class Scope(View):
    """A restriction of tools, or of routes and accounts: globs over names; `deny` wins. `origin` names its source
    (`session, credential scope`)."""

    shown_as = "Scope"
    origin: str
    allow: tuple[str, ...] | None = None
    """The permitted names; null: all."""
    deny: tuple[str, ...] = ()


@frozen
class ToolPolicy(Scope):
    """A restriction of the tools that a run may call, set by a Playbook or its phase (`playbook triage@1.2.0, phase
    fix`), never by a caller. It grants nothing: permissions still apply to the tools that it leaves."""

    shown_as = "AppliedToolPolicy"


@frozen
class Requirement:
    """A condition for a run to count as completed; exactly one of the four fields is set. A text is only shown to the
    model; the others are checked."""

    text: str | None = None
    workspace_file: str | None = None
    command: str | None = None
    exit: int = 0
    timeout: float = 600.0
    output_matches: dict[str, Any] | bool | None = None


@frozen
class RunSettings:
    """The settings that a run froze when it was accepted; later changes of its session do not affect it."""

    route: str
    model: str | None = None
    persona: dict[str, Any] | None = None
    permission_mode: str = "default"
    workspace: str = ""
    generation: dict[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()
    output_contract: dict[str, Any] | None = None
    while_waiting: str = "hold"
    tool_policies: tuple[ToolPolicy, ...] = ()  # a tool must be left by all of them
    completion: tuple[Requirement, ...] = ()
    own_persona: bool = False  # whether `persona` differs from the session's (a Playbook's role)
    checks_ask: bool = False  # the rules apply to commands of `completion` as to the agent's own
    unattended: Literal["ask", "deny"] = "ask"  # deny: what would ask a person is denied instead
    capability_scope: tuple[Scope, ...] = ()  # what the agent sees: all must leave it, as for the next
    credential_scope: tuple[Scope, ...] = ()  # the routes and accounts that may be used
    skills: tuple[str, ...] = ()  # the skills that the caller starts
    project: str | None = None  # the project that its cost counts for
    reply_targets: tuple[dict[str, Any], ...] = ()  # the targets of its outputs
    debug: Literal["off", "redacted", "full"] | None = None  # the level of debug capture; None: as its session has it
    worker: str | None = None  # the worker that its tools run on; None: here


@frozen
class Idempotency:
    """The caller's key, its scope (endpoint and session), and a digest of the request."""

    scope: str
    key: str
    digest: str


@frozen
class RunSubmitted(Event):
    kind = "run.submitted"
    spillable = ("request", "phase_text")
    run_kind: str
    request: Request
    settings: RunSettings
    retry_of: str | None = None
    flow: dict[str, Any] | None = None
    idempotency: Idempotency | None = None
    phase_text: Text | None = None  # the Playbook's text for this phase; a section of the prompt
    message_ids: tuple[str, ...] = ()  # the messages of the session's mailbox that this run delivers: it claims them
    tainted_by: str | None = None  # observations, which are from outside
    traceparent: str | None = None  # the caller's span (W3C Trace Context)


@frozen
class RunStarted(Event):
    kind = "run.started"


@frozen
class RunResumed(Event):
    kind = "run.resumed"
    reason: str  # restart | approval | question | …


@frozen
class RunWaiting(Event):
    kind = "run.waiting"
    headline = 'run {words}: {session} "{request}"'
    status: str  # waiting_for_approval | waiting_for_question | waiting_for_agent

    @property
    def words(self) -> str:
        """The status in words."""
        return self.status.replace("_", " ")


@frozen
class RunWorkerLost(Event):
    """The connection to the worker was lost while a call of the run is open there; the run waits for it."""

    kind = "run.worker_lost"
    worker: str
    reason: str = ""


@frozen
class RunWorkerFound(Event):
    """The worker is connected again."""

    kind = "run.worker_found"
    worker: str


@frozen
class RunWorkspacePlaced(Event):
    """The workspace is on the run's worker; `base` is its commit there."""

    kind = "run.workspace_placed"
    worker: str
    folder: str
    base: str


@frozen
class RunWorkspaceReturned(Event):
    """The changes of the run on its worker were written into the workspace here. A file that was changed here as well
    stays as it is."""

    kind = "run.workspace_returned"
    worker: str
    base: str
    commit: str
    files: int  # that were written
    paths: tuple[str, ...] = ()  # the first of them
    conflicts: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)  # by path, the reason
    repository: str = ""  # from which `git fetch` gets the whole result
    ref: str = ""


@frozen
class RunModeChanged(Event):
    """The permission mode of the run from this entry on; the session's mode is unchanged."""

    kind = "run.mode_changed"
    mode: str
    reason: str | None = None


@frozen
class RunRequeued(Event):
    kind = "run.requeued"
    reason: str


@frozen
class RunCancelRequested(Event):
    kind = "run.cancel_requested"
    reason: str | None = None


@frozen
class RunInterruptRequested(Event):
    kind = "run.interrupt_requested"
    reason: str | None = None


@frozen
class RunError(View):
    """The reason for a run's failure: a stable `code`, a sentence, and whether the same request may succeed later."""

    shown_as = "RunFailure"
    code: str
    message: str
    retryable: bool = False


@frozen
class RunCompleted(Event):
    kind = "run.completed"
    headline = 'run completed: {session} "{request}"'
    spillable = ("output",)
    output: Text


@frozen
class RunFailed(Event):
    kind = "run.failed"
    headline = 'run failed: {session} "{request}"'
    error: RunError


@frozen
class RunCancelled(Event):
    kind = "run.cancelled"
    headline = 'run cancelled: {session} "{request}"'
    reason: str | None = None


@frozen
class RunInterrupted(Event):
    kind = "run.interrupted"
    headline = 'run interrupted: {session} "{request}"'
    reason: str | None = None
