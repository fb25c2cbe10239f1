"""The events: one frozen class for each kind of journal entry.

A class is the `data` of a line; `on(...)` puts it on a session (or a stream) as a Draft, and `state.append` turns
Drafts into Entries. `decode` reads lines back. Fields are only ever added, with a default, so that old segments stay
readable. Each family of events has its own module (`runs`, `tasks`, `flows`, `playbooks`, `auth`); import all of them
from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cache
from typing import Any, Literal

from kheish.domain.events.auth import AccessRestored as AccessRestored
from kheish.domain.events.auth import AccessRevoked as AccessRevoked
from kheish.domain.events.auth import AuditRecorded as AuditRecorded
from kheish.domain.events.auth import LoginChanged as LoginChanged
from kheish.domain.events.auth import SecretChanged as SecretChanged
from kheish.domain.events.auth import TokenChanged as TokenChanged
from kheish.domain.events.flows import EvidenceAttached as EvidenceAttached
from kheish.domain.events.flows import FlowCancelRequested as FlowCancelRequested
from kheish.domain.events.flows import FlowSealed as FlowSealed
from kheish.domain.events.flows import FlowStarted as FlowStarted
from kheish.domain.events.flows import PhaseBlocked as PhaseBlocked
from kheish.domain.events.flows import PhaseEnded as PhaseEnded
from kheish.domain.events.flows import PhasePlan as PhasePlan
from kheish.domain.events.flows import PhaseRetried as PhaseRetried
from kheish.domain.events.flows import PhaseStarted as PhaseStarted
from kheish.domain.events.flows import Plan as Plan
from kheish.domain.events.flows import RolePlan as RolePlan
from kheish.domain.events.flows import ToolLimits as ToolLimits
from kheish.domain.events.flows import WantedEvidence as WantedEvidence
from kheish.domain.events.playbooks import EvidenceRef as EvidenceRef
from kheish.domain.events.playbooks import PlaybookIntact as PlaybookIntact
from kheish.domain.events.playbooks import PlaybookPublished as PlaybookPublished
from kheish.domain.events.playbooks import PlaybookReleased as PlaybookReleased
from kheish.domain.events.playbooks import PlaybookTampered as PlaybookTampered
from kheish.domain.events.runs import CompletionChecked as CompletionChecked
from kheish.domain.events.runs import CompletionStarted as CompletionStarted
from kheish.domain.events.runs import ContextCompacted as ContextCompacted
from kheish.domain.events.runs import Idempotency as Idempotency
from kheish.domain.events.runs import Item as Item
from kheish.domain.events.runs import Limits as Limits
from kheish.domain.events.runs import ModelCall as ModelCall
from kheish.domain.events.runs import ModelFailed as ModelFailed
from kheish.domain.events.runs import ModelRequested as ModelRequested
from kheish.domain.events.runs import ModelResponded as ModelResponded
from kheish.domain.events.runs import Nudged as Nudged
from kheish.domain.events.runs import Request as Request
from kheish.domain.events.runs import Requirement as Requirement
from kheish.domain.events.runs import RuleAdded as RuleAdded
from kheish.domain.events.runs import RunCancelled as RunCancelled
from kheish.domain.events.runs import RunCancelRequested as RunCancelRequested
from kheish.domain.events.runs import RunCompleted as RunCompleted
from kheish.domain.events.runs import RunError as RunError
from kheish.domain.events.runs import RunFailed as RunFailed
from kheish.domain.events.runs import RunInterrupted as RunInterrupted
from kheish.domain.events.runs import RunInterruptRequested as RunInterruptRequested
from kheish.domain.events.runs import RunModeChanged as RunModeChanged
from kheish.domain.events.runs import RunRequeued as RunRequeued
from kheish.domain.events.runs import RunResumed as RunResumed
from kheish.domain.events.runs import RunSettings as RunSettings
from kheish.domain.events.runs import RunStarted as RunStarted
from kheish.domain.events.runs import RunSubmitted as RunSubmitted
from kheish.domain.events.runs import RunWaiting as RunWaiting
from kheish.domain.events.runs import Scope as Scope
from kheish.domain.events.runs import SessionCreated as SessionCreated
from kheish.domain.events.runs import SessionDeleted as SessionDeleted
from kheish.domain.events.runs import SessionEnded as SessionEnded
from kheish.domain.events.runs import SessionForked as SessionForked
from kheish.domain.events.runs import SessionUpdated as SessionUpdated
from kheish.domain.events.runs import ToolPolicy as ToolPolicy
from kheish.domain.events.runs import Usage as Usage
from kheish.domain.events.tasks import ShellEnding as ShellEnding
from kheish.domain.events.tasks import ShellTask as ShellTask
from kheish.domain.events.tasks import TaskCreated as TaskCreated
from kheish.domain.events.tasks import TaskEnded as TaskEnded
from kheish.domain.events.tasks import TaskStopRequested as TaskStopRequested
from kheish.state import event
from kheish.state.event import Arguments as Arguments
from kheish.state.event import Checkpoint as Checkpoint
from kheish.state.event import Draft as Draft
from kheish.state.event import Entry as Entry
from kheish.state.event import Event as Event
from kheish.state.event import Spilled as Spilled
from kheish.state.event import Text as Text
from kheish.state.event import changed as changed
from kheish.state.event import frozen as frozen

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
    resolved: dict[str, str] = field(default_factory=dict)  # real paths of those that resolve elsewhere
    as_read: bool = False  # for a command line: runs the re-emission that the rules judged


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
    network: bool = False  # whether it may use the network


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
    network: bool = False  # as in `tool.started`


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
    """An item of the session's to-do list."""

    content: str
    status: Literal["pending", "in_progress", "completed"] = "pending"


@frozen
class TodoWritten(Event):
    kind = "todo.written"
    items: tuple[Todo, ...]


# --- users ------------------------------------------------------------------------------------------------------------


@frozen
class Preview:
    """The change that a call would make, as shown to users: control and invisible characters are visible, long text is
    cut."""

    diff: str
    is_whole: bool


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
    came_from: dict[str, Any] = field(default_factory=dict)  # the origin of the arguments: {by, turn, tainted_by}
    remember: dict[str, Any] = field(default_factory=dict)  # {exact, pattern}: the rule that each adds, or null
    preview: Preview | None = None  # for an edit, at the time of the request


@frozen
class ApprovalDecided(Event):
    """The allow of one person, for a call that another person must allow as well."""

    kind = "approval.decided"
    spillable = ("arguments",)
    approval_id: str
    by: str
    person: str
    via: str = "api"
    reason: str | None = None
    arguments: Arguments | None = None  # as edited by this person; the next person decides about these
    digest: str | None = None
    files: tuple[dict[str, Any], ...] | None = None
    idempotency: Idempotency | None = None


@frozen
class ApprovalResolved(Event):
    """The end of an approval, with its `outcome`. `decision` is null if no person decided (expired, cancelled)."""

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
    files: tuple[dict[str, Any], ...] | None = None  # of the edited call
    person: str | None = None  # the person that the answer proves: the person of a token
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
    purpose: str = "tool"  # tool | ambiguous: a call that may or may not have happened
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
    recovered: int = 0  # log groups that were not committed yet
    repaired_bytes: int = 0  # torn last line of the log, removed


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
    """A restore of daemon files that were changed or removed from outside, from the last commit and the log."""

    kind = "files.put_back"
    stream = "daemon"
    paths: tuple[str, ...]


def _subclasses(base: type[Event]) -> list[type[Event]]:
    return [cls for sub in base.__subclasses__() for cls in (sub, *_subclasses(sub))]


@cache
def kinds() -> Mapping[str, type[Event]]:
    """Return every kind of event with its class."""
    # slots=True creates each class twice; the registry takes the class that the module exports
    return {cls.kind: cls for cls in _subclasses(Event) if globals().get(cls.__name__) is cls}


def decode(line: Mapping[str, Any]) -> Entry:
    """Return a journal line as an Entry. Raises Damaged for an unknown kind or data that does not fit."""
    return event.read(line, kinds())
