"""Changes of a task's status by callers that do not hold it: users, who block and unblock it, end it, open it again,
and accept or reject its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Draft
from kheish.domain.events.projects import ProjectBlockKind, ProjectTaskStatus
from kheish.domain.projects import verbs
from kheish.domain.projects.task import FINAL, ProjectTask, has_lapsed
from kheish.domain.projects.verbs import Place
from kheish.errors import Fault, Forbidden, Invalid

if TYPE_CHECKING:
    from kheish.state.state import State

_LAPSED = "the claim has lapsed"


def move(state: State, place: Place, task_id: str, status: ProjectTaskStatus, kind: ProjectBlockKind | None = None,
         reason: str | None = None, output: str | None = None) -> list[Draft]:  # fmt: skip
    """Return the drafts that bring a task to another status, for a caller that does not hold it.

    Raises NotFound, Forbidden, Invalid, TaskBlocked, TaskClaimed, TaskStateConflict.
    """
    project, by = place.project, place.by
    doc = verbs.document(state, project, task_id)
    if doc["status"] in FINAL and status == "pending":
        return [verbs.reopened(state, doc, reason).on(by=by)]
    task = verbs.open_task(state, project, task_id)
    is_held = task.claim is not None and not has_lapsed(task.claim, ids.stamp(state.clock()))
    if task.claim is not None and is_held and status != "cancelled":
        raise verbs.claimed(task)
    if status in ("completed", "in_review") and (task.waits_for or task.failed):
        raise verbs.blocked(task)
    if status == "completed" and task.status != "in_review" and place.file.review:
        status = "in_review"
    match status:
        case "pending" if task.status == "in_review":
            return [events.ProjectTaskRejected(project=project, task_id=task_id, reason=reason).on(by=by)]
        case "pending":
            ends = [_ended_claim(task, by)] if task.claim is not None else []
            why = reason or (_LAPSED if ends else None)
            freed = events.ProjectTaskUnblocked(project=project, task_id=task_id, fresh=True, reason=why)
            return [*ends, *([freed.on(by=by)] if task.status != "pending" else [])]
        case "blocked":
            block = events.ProjectTaskBlocked(
                project=project, task_id=task_id, block_kind=kind or "needs_input", reason=reason
            )
            return [*([_ended_claim(task, by)] if task.claim is not None else []), block.on(by=by)]
        case "in_review":
            reviewed = events.ProjectTaskReviewed(
                project=project, task_id=task_id, output=output, reason=reason, person=place.person
            )
            return [reviewed.on(by=by)]
        case "completed" | "failed" | "cancelled":
            accepted = status == "completed" and task.status == "in_review"
            if accepted:
                _check_other(task, place)
            ended = events.ProjectTaskEnded(
                project=project, task_id=task_id, status=status, output=output, reason=reason, accepted=accepted
            )
            return [ended.on(by=by)]
        case _:
            raise Invalid(
                f"A task is in progress when it is claimed or started; set no status {status!r}.",
                errors=[Fault("/status", "claim or start the task")],
            )


def _ended_claim(task: ProjectTask, by: str) -> Draft:
    assert task.claim is not None
    return events.ProjectTaskReleased(
        project=task.project, task_id=task.task_id, claim_id=task.claim.claim_id, reason=_LAPSED,
        failures=task.failures,
    ).on(by=by)  # fmt: skip


def _check_other(task: ProjectTask, place: Place) -> None:
    """Raise Forbidden if the caller, or the person behind it, gave the result that it wants to accept."""
    is_own = task.result_by == place.by or (place.person is not None and task.result_person == place.person)
    if is_own:
        raise Forbidden(
            f"{place.by} gave the result of the task {task.task_id!r}, or is the same person; another one accepts it.",
            result_by=task.result_by,
        )
