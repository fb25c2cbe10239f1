"""Events of sessions, of runs, and of what the model was asked and answered."""

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
    opens = True
    path: str  # the session's folder in the state root
    agent_id: str
    settings: dict[str, Any]


@frozen
class SessionForked(SessionCreated):
    """A session that begins with the history of another, up to its entry `seq` (event `at_n`), in `forked/`.

    `commit` is the first that holds that entry; None where none did yet.
    """

    kind = "session.forked"
    inherits = True
    written: ClassVar[Mapping[str, str]] = {"origin": "from"}
    origin: Annotated[str, Field(alias="from")]
    seq: int
    at_n: int
    commit: str | None
    segments: int  # files in forked/
    spills: tuple[str, ...] = ()  # payloads that came with it
    tainted_by: str | None = None  # as the session that it comes from was by then


@frozen
class SessionDeleted(Event):
    """A session's folder is taken out of the tree, and its id is never used again. Git's history still has it."""

    kind = "session.deleted"
    stream = "daemon"
    session_id: str
    path: str
    made: int  # the event that made it
    last_n: int


@frozen
class SessionUpdated(Event):
    kind = "session.updated"
    changes: dict[str, Any]


@frozen
class SessionEnded(Event):
    kind = "session.ended"
    reason: str | None = None


@frozen
class RuleAdded(Event):
    kind = "session.rule_added"
    rule: dict[str, Any]


# --- runs -------------------------------------------------------------------------------------------------------------


@frozen
class Item:
    """One part of an input: text, or a stored asset."""

    type: Literal["text", "asset"] = "text"
    text: Text | None = None
    asset_id: str | None = None


@frozen
class Request:
    """What was asked, and by whom; `metadata` is the caller's own."""

    actor: str
    source: str
    items: tuple[Item, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


@frozen
class Limits:
    """What ends a run: counts, seconds, tokens, US dollars. None: no limit."""

    turns: int = 500
    wall_time: float | None = None
    model_calls: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None


@frozen
class Scope:
    """What somebody leaves, of tools or of routes and accounts: globs over names; `allow` None is all of them, and
    `deny` wins. `origin` says whose it is (`session, credential scope`)."""

    origin: str
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@frozen
class ToolPolicy(Scope):
    """Which tools a run may call, by a Playbook or its phase (`playbook triage@1.2.0, phase fix`). It only takes away:
    what it leaves still meets the permissions."""


@frozen
class Requirement:
    """What must be so before a run counts as completed: one of these four. A text is told to the model, and is all
    that can be done with it; the others are checked."""

    text: str | None = None
    workspace_file: str | None = None
    command: str | None = None
    exit: int = 0
    timeout: float = 600.0
    output_matches: dict[str, Any] | bool | None = None


@frozen
class RunSettings:
    """What a run froze when it was accepted; later changes of its session don't touch it."""

    route: str
    model: str | None = None
    persona: dict[str, Any] | None = None
    permission_mode: str = "default"
    workspace: str = ""
    generation: dict[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()
    output_contract: dict[str, Any] | None = None
    while_waiting: str = "hold"
    tool_policies: tuple[ToolPolicy, ...] = ()  # all of them hold
    completion: tuple[Requirement, ...] = ()
    own_persona: bool = False  # whether `persona` is another than the session's (a Playbook's role)
    checks_ask: bool = False  # the commands of `completion` meet the rules like the agent's own
    capability_scope: tuple[Scope, ...] = ()  # what the agent sees: all of them hold, as of the next
    credential_scope: tuple[Scope, ...] = ()  # which routes and accounts are used


@frozen
class Idempotency:
    """The caller's key, its scope (endpoint and session), and a digest of the request that came with it."""

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
    phase_text: Text | None = None  # what a Playbook asks for in this phase; a section of the prompt


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
    status: str  # waiting_for_approval | waiting_for_question | waiting_for_agent


@frozen
class RunModeChanged(Event):
    """The permission mode of the run from here on; the session's stays as it is."""

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
    """Why a run failed: a stable `code`, a sentence, and whether the same request may succeed later."""

    code: str
    message: str
    retryable: bool = False


@frozen
class RunCompleted(Event):
    kind = "run.completed"
    spillable = ("output",)
    output: Text


@frozen
class RunFailed(Event):
    kind = "run.failed"
    error: RunError


@frozen
class RunCancelled(Event):
    kind = "run.cancelled"
    reason: str | None = None


@frozen
class RunInterrupted(Event):
    kind = "run.interrupted"
    reason: str | None = None


# --- the model --------------------------------------------------------------------------------------------------------


@frozen
class Usage:
    """What one answer cost. `cost_usd` is None where the route has no price; `estimated`: the server counted nothing,
    so that tokens are counted from the characters."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False


@frozen
class ModelCall:
    """A tool call in an answer; `malformed` is the raw text of arguments that were no JSON object. `has_secret`: the
    arguments held a known secret, which the journal does not have, so that the call cannot be what was asked for.
    `left_out`: the answer had so many more calls than one may have; this one, the last, is not run and says so."""

    id: str
    name: str
    arguments: Arguments = field(default_factory=dict)
    malformed: Text | None = None
    has_secret: bool = False
    left_out: int = 0


@frozen
class ModelRequested(Event):
    """`digest` is the sha256 of the canonical request, which can be rebuilt from earlier entries."""

    kind = "model.requested"
    turn: int
    attempt: int
    route: str
    model: str | None
    digest: str
    purpose: str = "turn"  # turn | compaction
    omitted: tuple[str, ...] = ()  # what did not fit into the prompt, in words; the journal has it all


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
    """A failed attempt. `text` and `usage` are of what had come before it failed, `finish_reason` how that ended."""

    kind = "model.failed"
    spillable = ("text",)
    turn: int
    attempt: int
    route: str
    error: RunError
    error_kind: str
    status: int | None = None
    retry_in: float | None = None  # seconds until the next attempt; None: no further attempt on this route
    patient: bool = False  # beyond the retries of all routes: the run waits until a server is there again
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
    covers: int  # the last `seq` that the summary stands for
    usage: Usage = Usage()
    made_by: Literal["model", "daemon"] = "model"  # the daemon shortens where no summary could be had


@frozen
class Nudged(Event):
    """Something that the daemon tells the model in a turn of its own: a failed contract, a limit."""

    kind = "run.nudged"
    text: str
    reason: str  # output_contract | completion


@frozen
class CompletionStarted(Event):
    """The answer of `turn` is to be the last, and commands tell whether it may be: `calls` are made by the daemon."""

    kind = "completion.started"
    turn: int
    calls: tuple[ModelCall, ...]


@frozen
class CompletionChecked(Event):
    """What was found, requirement by requirement: `{number, met, told}`; `met` is null for what cannot be checked."""

    kind = "completion.checked"
    turn: int
    findings: tuple[dict[str, Any], ...]
    met: bool
    commands_met: bool  # so that they need not run again before another tool is called
