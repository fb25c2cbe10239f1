"""Events of what waits for a person: approvals and questions."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.domain.events.runs import Idempotency
from kheish.domain.shown import View
from kheish.state.event import Arguments, Event, frozen


@frozen
class Preview(View):
    """The change that a call would make, captured when the approval was requested."""

    shown_as = "Preview"
    diff: str
    """A unified diff. Control characters and invisible characters are replaced by visible ones."""
    is_whole: bool
    """Whether the diff is complete."""


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
    headline = "approval {outcome}: {session}"
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


#: the purpose of questions of MCP servers
ELICITATION = "elicitation"


@frozen
class Option(View):
    """A choice."""

    shown_as = "Option"
    id: str
    label: str
    description: str | None = None


@frozen
class QuestionItem(View):
    """One of the items of a question."""

    shown_as = "Asked"
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
    #: tool | ambiguous: a call that may or may not have happened | goal: how to continue | elicitation: what an MCP
    #: server asks
    purpose: str = "tool"
    expires_at: str | None = None
    run_id: str | None = None  # the run that it is about, where no run waits for the answer


@frozen
class QuestionAnswered(Event):
    kind = "question.answered"
    headline = "question {outcome}: {session}"
    question_id: str
    outcome: Literal["answered", "declined", "expired", "cancelled"]
    answers: dict[str, Any] | None = None
    by: str = "daemon"
    via: str = "api"
    reason: str | None = None
    idempotency: Idempotency | None = None
