"""Events of sessions, of runs, and of model requests and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kheish.state.event import Arguments, Event, Text, frozen

# --- sessions ---------------------------------------------------------------------------------------------------------


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
class SessionEnded(Event):
    kind = "session.ended"
    headline = "session ended: {session}"
    reason: str | None = None


@frozen
class RuleAdded(Event):
    kind = "session.rule_added"
    rule: dict[str, Any]


# --- runs -------------------------------------------------------------------------------------------------------------


@frozen
class Item:
    """A part of an input: text, or a stored asset."""

    type: Literal["text", "asset"] = "text"
    text: Text | None = None
    asset_id: str | None = None


@frozen
class Request:
    """A request and its author; `metadata` is the caller's own."""

    actor: str
    source: str
    items: tuple[Item, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


@frozen
class Limits:
    """The limits that end a run: counts, seconds, tokens, US dollars. None: no limit."""

    turns: int = 500
    wall_time: float | None = None
    model_calls: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None


@frozen
class Scope:
    """A restriction of tools, or of routes and accounts: globs over names. `allow` None is all of them; `deny` wins.
    `origin` names its source (`session, credential scope`)."""

    origin: str
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@frozen
class ToolPolicy(Scope):
    """The tools that a run may call, restricted by a Playbook or its phase (`playbook triage@1.2.0, phase fix`). It
    grants nothing: permissions still apply to the tools that it leaves."""


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
    unattended: str = "ask"  # deny: what would ask a person is denied instead
    capability_scope: tuple[Scope, ...] = ()  # what the agent sees: all must leave it, as for the next
    credential_scope: tuple[Scope, ...] = ()  # the routes and accounts that may be used


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
class RunError:
    """The reason why a run failed: a stable `code`, a sentence, and whether the same request may succeed later."""

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


# --- the model --------------------------------------------------------------------------------------------------------


@frozen
class Usage:
    """The cost of one answer. `cost_usd` is None for a route without a price; `estimated`: the server counted nothing,
    so tokens are estimated from characters."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False


@frozen
class Spent:
    """The usage of a run so far."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float | None = None
    estimated: bool = False  # partly estimated from characters, for a server that counted nothing


@frozen
class ModelCall:
    """A tool call in an answer.

    `malformed` is the raw text of arguments that are not a JSON object. `has_secret`: the arguments held a known
    secret, which the journal omits, so the call cannot run as requested. `left_out`: the answer had more calls than
    allowed; this call, the last, is not run and reports how many were dropped.
    """

    id: str
    name: str
    arguments: Arguments = field(default_factory=dict)
    malformed: Text | None = None
    has_secret: bool = False
    left_out: int = 0


@frozen
class ModelRequested(Event):
    """A request to the model. `digest` is the sha256 of the canonical request, which earlier entries can rebuild."""

    kind = "model.requested"
    turn: int
    attempt: int
    route: str
    model: str | None
    digest: str
    purpose: str = "turn"  # turn | compaction
    omitted: tuple[str, ...] = ()  # what did not fit into the prompt, in words; the journal keeps it


@frozen
class ModelResponded(Event):
    kind = "model.responded"
    spillable = ("text", "calls", "opaque")
    turn: int
    text: Text
    calls: tuple[ModelCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = Usage()
    route: str = ""
    model: str | None = None
    opaque: Any = None


@frozen
class ModelFailed(Event):
    """A failed attempt. `text` and `usage` cover the part before the failure; `finish_reason` says how that part
    ended."""

    kind = "model.failed"
    spillable = ("text",)
    turn: int
    attempt: int
    route: str
    error: RunError
    error_kind: str
    status: int | None = None
    retry_in: float | None = None  # seconds until the next attempt; None: no further attempt on this route
    patient: bool = False  # beyond the retries of all routes: waits for a server to return
    purpose: str = "turn"
    finish_reason: str | None = None
    text: Text = ""
    usage: Usage = Usage()


@frozen
class ContextCompacted(Event):
    kind = "context.compacted"
    checkpointed = True
    spillable = ("summary",)
    summary: Text
    covers: int  # the last `seq` that the summary replaces
    usage: Usage = Usage()
    made_by: Literal["model", "daemon"] = "model"  # the daemon truncates if no summary was possible


@frozen
class Nudged(Event):
    """A message from the daemon to the model in a separate turn: a failed contract, a limit."""

    kind = "run.nudged"
    text: str
    reason: str  # output_contract | completion


@frozen
class CompletionStarted(Event):
    """The start of completion checks: the answer of `turn` is meant as the last, and `calls` by the daemon check it."""

    kind = "completion.started"
    turn: int
    calls: tuple[ModelCall, ...]


@frozen
class CompletionChecked(Event):
    """The result of each requirement: `{number, met, told}`; `met` is null for one that cannot be checked."""

    kind = "completion.checked"
    turn: int
    findings: tuple[dict[str, Any], ...]
    met: bool
    commands_met: bool  # if so, they are not rerun before another tool is called
