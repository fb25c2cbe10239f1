"""What can happen: one frozen class for each kind of journal entry, and the envelope that a journal line adds.

A class is the `data` of a line; `on(...)` puts it on a session (or a stream) as a Draft, and `state.append` turns
Drafts into Entries. Journals are read back through `decode`. Fields are only ever added, with a default: old segments
stay readable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, TypeAdapter

from kheish.errors import Damaged

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """A frozen dataclass with slots and keyword arguments only: what all values here are."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


@frozen
class Spilled:
    """A payload over 16 KiB: its bytes are in the session's `spill/<sha256>`; `preview` is its beginning."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")
    sha256: str
    bytes: int
    preview: str


#: Text, or where the text is too large for a journal line, the reference to it
Text = str | Spilled
#: Left to right, because a plain mapping would otherwise win over the reference
Arguments = Annotated[Spilled | dict[str, Any], Field(union_mode="left_to_right")]


@frozen
class Event:
    """Base of all. `spillable` names the fields whose strings or mappings may be spilled."""

    kind: ClassVar[str] = ""
    stream: ClassVar[str | None] = None  # the journal under journals/ for events that belong to no session
    spillable: ClassVar[tuple[str, ...]] = ()

    def on(self, session: str | None = None, run: str | None = None, *, by: str = "daemon") -> Draft:
        """Say where it happened and who caused it."""
        return Draft(event=self, session=session, run=run, actor=by)


@frozen
class Draft:
    """An event that has a place but no number yet."""

    event: Event
    session: str | None
    run: str | None
    actor: str


@frozen
class Entry:
    """An event as the journal has it: `n` over the whole state root, `seq` in its journal, `at` RFC 3339 UTC."""

    n: int
    seq: int
    at: str
    session: str | None
    run: str | None
    actor: str
    event: Event


# --- sessions ---------------------------------------------------------------------------------------------------------


@frozen
class SessionCreated(Event):
    kind = "session.created"
    path: str  # the session's folder in the state root
    agent_id: str
    settings: dict[str, Any]


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


@frozen
class Idempotency:
    """The caller's key, its scope (endpoint and session), and a digest of the request that came with it."""

    scope: str
    key: str
    digest: str


@frozen
class RunSubmitted(Event):
    kind = "run.submitted"
    spillable = ("request",)
    run_kind: str
    request: Request
    settings: RunSettings
    retry_of: str | None = None
    flow: dict[str, Any] | None = None
    idempotency: Idempotency | None = None


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
    """What one answer cost. `cost_usd` is None where the route has no price."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None


@frozen
class ModelCall:
    """A tool call in an answer; `malformed` is the raw text of arguments that were no JSON object."""

    id: str
    name: str
    arguments: Arguments = field(default_factory=dict)
    malformed: str | None = None


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
    kind = "model.failed"
    turn: int
    attempt: int
    route: str
    error: RunError
    error_kind: str
    status: int | None = None
    retry_in: float | None = None  # seconds until the next attempt; None: no further attempt on this route
    purpose: str = "turn"


@frozen
class ContextCompacted(Event):
    kind = "context.compacted"
    spillable = ("summary",)
    summary: Text
    covers: int  # the last `seq` that the summary stands for
    usage: Usage = Usage()


@frozen
class Nudged(Event):
    """Something that the daemon tells the model in a turn of its own: a failed contract, a limit."""

    kind = "run.nudged"
    text: str
    reason: str  # output_contract | …


# --- tools ------------------------------------------------------------------------------------------------------------


@frozen
class PermissionDecided(Event):
    kind = "permission.decided"
    call_id: str
    tool: str
    decision: Literal["allow", "ask", "deny"]
    why: str
    rule: dict[str, Any] | None = None
    origin: str | None = None  # permissions.yaml:12 | session | mode default | …
    network: bool = False


@frozen
class ToolStarted(Event):
    kind = "tool.started"
    spillable = ("arguments",)
    call_id: str
    tool: str
    arguments: Arguments
    digest: str
    key: str
    effect: str
    replay: str
    note: dict[str, Any] = field(default_factory=dict)


@frozen
class ToolFinished(Event):
    kind = "tool.finished"
    spillable = ("content", "detail")
    call_id: str
    tool: str
    is_error: bool
    content: Text
    detail: dict[str, Any] = field(default_factory=dict)
    code: str | None = None  # permission_denied | approval_expired | unknown_tool | invalid_arguments | …


@frozen
class OutputEmitted(Event):
    kind = "output.emitted"
    spillable = ("content",)
    output_id: str
    output_kind: str
    content: Text
    call_id: str | None = None


@frozen
class Todo:
    """One line of the session's to-do list."""

    content: str
    status: Literal["pending", "in_progress", "completed"] = "pending"


@frozen
class TodoWritten(Event):
    kind = "todo.written"
    items: tuple[Todo, ...]


# --- people -----------------------------------------------------------------------------------------------------------


@frozen
class ApprovalRequested(Event):
    kind = "approval.requested"
    spillable = ("arguments",)
    approval_id: str
    call_id: str
    tool: str
    arguments: Arguments
    digest: str
    why: str
    risk: Literal["low", "medium", "high"]
    files: tuple[dict[str, Any], ...] = ()
    expires_at: str | None = None
    required: int = 1


@frozen
class ApprovalResolved(Event):
    """`outcome` is what the approval became; `decision` is null where nobody decided (expired, cancelled)."""

    kind = "approval.resolved"
    spillable = ("arguments",)
    approval_id: str
    outcome: Literal["allowed", "denied", "expired", "cancelled"]
    decision: Literal["allow", "deny"] | None = None
    by: str = "daemon"
    via: str = "api"
    reason: str | None = None
    arguments: Arguments | None = None  # as edited by the person who decided
    digest: str | None = None
    idempotency: Idempotency | None = None


@frozen
class Option:
    id: str
    label: str
    description: str | None = None


@frozen
class QuestionItem:
    id: str
    header: str
    text: str
    options: tuple[Option, ...] = ()
    multi_select: bool = False
    free_text: bool = False


@frozen
class QuestionAsked(Event):
    kind = "question.asked"
    question_id: str
    call_id: str
    questions: tuple[QuestionItem, ...]
    purpose: str = "tool"  # tool | ambiguous: "this may or may not have happened"
    expires_at: str | None = None


@frozen
class QuestionAnswered(Event):
    kind = "question.answered"
    question_id: str
    outcome: Literal["answered", "declined", "expired", "cancelled"]
    answers: dict[str, Any] | None = None
    by: str = "daemon"
    via: str = "api"
    reason: str | None = None
    idempotency: Idempotency | None = None


# --- the state root ---------------------------------------------------------------------------------------------------


@frozen
class Checkpoint(Event):
    """The folded state of the session without its messages, by noun; replaces what came before it."""

    kind = "checkpoint"
    spillable = ("nouns",)
    nouns: Arguments
    messages_from: int  # the seq from which messages must be read


@frozen
class DefinitionChanged(Event):
    kind = "definition.changed"
    stream = "daemon"
    path: str
    definition: str  # routes | personas | …; `config` and `permissions` for the two files at the top
    id: str
    change: Literal["added", "changed", "removed"]
    fields: tuple[str, ...] = ()
    digest: str | None = None


@frozen
class DaemonStarted(Event):
    kind = "daemon.started"
    stream = "daemon"
    version: str
    recovered: int = 0  # log groups found that were not committed yet
    repaired_bytes: int = 0  # torn last line of the log, cut


@frozen
class DaemonStopped(Event):
    kind = "daemon.stopped"
    stream = "daemon"
    reason: str


@frozen
class DaemonPaused(Event):
    kind = "daemon.paused"
    stream = "daemon"
    route: str | None = None  # None: everything


@frozen
class DaemonResumed(Event):
    kind = "daemon.resumed"
    stream = "daemon"
    route: str | None = None


@frozen
class FilesPutBack(Event):
    """Files of the daemon that somebody changed or removed, restored from the last commit and the log."""

    kind = "files.put_back"
    stream = "daemon"
    paths: tuple[str, ...]


def _subclasses(base: type[Event]) -> list[type[Event]]:
    return [cls for sub in base.__subclasses__() for cls in (sub, *_subclasses(sub))]


@cache
def kinds() -> Mapping[str, type[Event]]:
    """Every kind of event and its class."""
    # slots=True makes each class twice; the registry takes the one that the module exports
    return {cls.kind: cls for cls in _subclasses(Event) if globals().get(cls.__name__) is cls}


@cache
def adapter(cls: Any) -> TypeAdapter[Any]:
    """The validator of a value class, made at first use."""
    return TypeAdapter(cls)


def decode(line: Mapping[str, Any]) -> Entry:
    """A journal line as an Entry. Raises Damaged where its kind is unknown or its data doesn't fit."""
    cls = kinds().get(line["kind"])
    if cls is None:
        raise Damaged(f"Entry {line['n']} has the unknown kind {line['kind']!r}; was it written by a newer Kheish?")
    try:
        event = adapter(cls).validate_python(line["data"])  # type: ignore[arg-type]  # a class is hashable
    except ValueError as error:
        raise Damaged(f"Entry {line['n']} ({line['kind']}) cannot be read: {error}") from error
    return Entry(
        n=line["n"], seq=line["seq"], at=line["at"], session=line.get("session"), run=line.get("run"),
        actor=line["actor"], event=event,
    )  # fmt: skip


def changed(value: T, **fields: Any) -> T:
    """The value with some fields replaced."""
    return dataclasses.replace(value, **fields)  # type: ignore[type-var,return-value,unused-ignore]  # every T here is a frozen dataclass
