"""Tool calls of a run's newest answer, with their progress; the stage of a call follows from its journal entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from enum import StrEnum

from kheish.domain import events
from kheish.domain.events import ModelCall, frozen

#: the event before a call, and all events of hooks that judge one
BEFORE = "pre_tool_use"
JUDGES = frozenset({BEFORE, "task_created", "task_completed"})


class Stage(StrEnum):
    """The progress of a tool call, derived by STAGES from its journal entries."""

    FINISHED = "finished"
    HOOKED = "hooked"  # hooks read its result
    UNOFFERED = "unoffered"  # its answer was not offered tools
    UNHOOKED = "unhooked"  # hooks judge it first
    UNDECIDED = "undecided"
    AWAITS_APPROVAL = "awaits_approval"
    AWAITS_ANSWER = "awaits_answer"
    AWAITS_AGENT = "awaits_agent"
    WAITED = "waited"  # the wait for agents is over
    STARTED = "started"  # and no entry shows its end
    ANSWERED = "answered"  # the question that it asks is answered
    INPUT_GIVEN = "input_given"  # the question of an MCP server is answered
    SETTLED = "settled"  # a user has chosen how to proceed, since no entry shows its end
    DENIED = "denied"
    APPROVED = "approved"
    ALLOWED = "allowed"


@frozen
class Call:
    """A tool call of the newest answer, with its progress."""

    call: ModelCall
    turn: int
    decision: events.PermissionDecided | None = None
    approval_id: str | None = None
    approval: str | None = None  # the outcome: allowed | denied | expired | cancelled
    approved_by: str | None = None
    approved_digest: str | None = None
    reason: str | None = None  # the reason for a denial
    started: events.ToolStarted | None = None
    attempts: int = 0
    question_id: str | None = None  # the newest question that the call waits for
    question_purpose: str | None = None
    answer: events.QuestionAnswered | None = None
    finished: bool = False
    failed: bool = False
    began_at: str | None = None  # of its last start; only if hooks concern it, as the next
    ended_at: str | None = None
    hooks: frozenset[str] = frozenset()  # the events of hooks that concern it
    hooked: dict[str, events.HooksRan] = field(default_factory=dict)  # their outcomes, by event
    outcome: events.ToolFinished | None = None  # for a check only; other results are in the conversation
    unoffered: bool = False  # the answer was meant to mend a final text, so no tools were offered
    wait: events.WaitOpened | None = None  # for agents
    waited: events.WaitEnded | None = None
    input: events.InputRequired | None = None  # the newest request of an MCP server
    remote_task: str | None = None  # the task that an MCP server runs for the call

    @property
    def id(self) -> str:
        return self.call.id

    @property
    def ahead(self) -> str:
        """The event whose hooks are due; empty if none is. A call that never started has no hooks after it."""
        if not self.finished:
            return BEFORE if self.started is None and self.decision is None and self._judged else ""
        else:
            event = ("post_tool_use_failure" if self.failed else "post_tool_use") if self.started else ""
        return event if event in self.hooks and event not in self.hooked else ""

    @property
    def _judged(self) -> bool:
        """Return whether hooks judge the call, and have not yet."""
        return bool(self.hooks & JUDGES) and BEFORE not in self.hooked

    @property
    def stage(self) -> Stage:
        """Return how far the call got."""
        return next(stage for stage, is_at in STAGES if is_at(self))


#: The stage of a call is the first whose condition holds. `runtime/tool_calls.py` has the step of each stage.
STAGES: tuple[tuple[Stage, Callable[[Call], bool]], ...] = (
    (Stage.HOOKED, lambda call: call.finished and call.ahead != ""),
    (Stage.FINISHED, lambda call: call.finished),
    (Stage.UNOFFERED, lambda call: call.unoffered),
    (Stage.UNHOOKED, lambda call: call.ahead != ""),
    (Stage.UNDECIDED, lambda call: call.started is None and _is_undecided(call)),
    (Stage.AWAITS_APPROVAL, lambda call: call.approval_id is not None and call.approval is None),
    (Stage.AWAITS_ANSWER, lambda call: call.question_id is not None and call.answer is None),
    (Stage.AWAITS_AGENT, lambda call: call.wait is not None and call.waited is None),
    (Stage.WAITED, lambda call: call.waited is not None),
    (Stage.STARTED, lambda call: call.started is not None and call.answer is None),
    (Stage.ANSWERED, lambda call: call.started is not None and call.question_purpose == "tool"),
    (Stage.INPUT_GIVEN, lambda call: call.started is not None and call.question_purpose == events.ELICITATION),
    (Stage.SETTLED, lambda call: call.started is not None),
    (Stage.APPROVED, lambda call: call.approval == "allowed" and not _denies(call)),
    (Stage.ALLOWED, lambda call: call.approval is None and not _denies(call)),
    (Stage.DENIED, lambda call: True),
)


def _is_undecided(call: Call) -> bool:
    """Return whether the call has no verdict, or one that asks and no approval that was requested."""
    return call.decision is None or (call.decision.decision == "ask" and call.approval_id is None)


def _denies(call: Call) -> bool:
    return call.decision is not None and call.decision.decision == "deny"
