"""The steps that follow for a task from its run, from time, and from a person's answer.

Each function compares the folded task with the world as it is, so that it gives the same live and after a kill, and
nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events, runs
from kheish.domain.events import Draft
from kheish.domain.events.projects import PROJECT_TASK
from kheish.domain.projects import claims, text
from kheish.domain.projects.task import ProjectTask, TaskClaim
from kheish.domain.projects.verbs import OUTPUT_BYTES, Place
from kheish.domain.sessions.session import Session

if TYPE_CHECKING:
    from kheish.state.state import State

#: codes of runs that a limit of a provider ended
LIMITS = frozenset({"model_rate_limited", "model_quota"})
#: seconds until a task that a limit stopped is tried again: the first, the factor of each further one, and the longest
DELAY, FACTOR, LONGEST = 60.0, 4.0, 3600.0
_CUT = "\n[… cut; the run has all of it …]"
_WAITS = frozenset({runs.Status.WAITING_FOR_APPROVAL, runs.Status.WAITING_FOR_QUESTION})


def follow(state: State, place: Place, task: ProjectTask, run: Mapping[str, Any] | None) -> list[Draft]:
    """Return what follows for a task from the document of the run that holds it; None: its session was deleted.

    The question to a person is asked if the session of the run is loaded.
    """
    claim = task.claim
    if claim is None or claim.run_id is None:
        return []
    status = run["status"] if run is not None else "deleted"
    if status in _WAITS:
        waits = "an approval" if status == runs.Status.WAITING_FOR_APPROVAL else "an answer"
        block = events.ProjectTaskBlocked(
            project=task.project,
            task_id=task.task_id,
            block_kind="needs_input",
            reason=f"its run {claim.run_id} waits for {waits}",
        )
        return [block.on()] if task.status == "in_progress" else []
    if status in runs.LIVE:
        freed = events.ProjectTaskUnblocked(project=task.project, task_id=task.task_id)
        return [freed.on()] if task.status == "blocked" else []
    return _ended(state, place, task, claim, run)


def _ended(
    state: State, place: Place, task: ProjectTask, claim: TaskClaim, run: Mapping[str, Any] | None
) -> list[Draft]:
    error = (run.get("error") or {}) if run is not None else {}
    reason = _reason(claim, run)
    if run is not None and claim.started and run["status"] == "completed":
        return [claims.result(place, task.task_id, _within(str(run["output"] or "")), "completed").on()]
    now = state.clock()
    if error.get("code") in LIMITS:
        wait = min(DELAY * FACTOR**task.delays, LONGEST)
        more: dict[str, Any] = {"retry_at": ids.stamp(now + wait), "delays": task.delays + 1, "restarts": claim.started}
        return [claims.released(task, reason, by="daemon", now=now, kind="transient", **more)]
    if run is not None and claim.started and run["status"] == "failed":
        return [claims.result(place, task.task_id, None, "failed", reason).on()]
    failures = task.failures + 1
    if failures < claims.ATTEMPTS:
        return [claims.released(task, reason, by="daemon", now=now, bars=True, failures=failures)]
    return _ask(state, task, claim, reason, now)


def _ask(state: State, task: ProjectTask, claim: TaskClaim, reason: str, now: float) -> list[Draft]:
    """Return the block of a task whose attempts came to nothing, with the question to a person."""
    more: dict[str, Any] = {"failures": task.failures + 1}
    asked = []
    if claim.session_id is not None and state.find(Session, claim.session_id) is not None:
        question = events.QuestionAsked(
            question_id=ids.new("q"),
            call_id=PROJECT_TASK,
            questions=(text.attempts(task, reason),),
            purpose=PROJECT_TASK,
            run_id=claim.run_id,
        )
        more["question_id"] = question.question_id
        asked = [question.on(claim.session_id)]
    return [*asked, claims.released(task, reason, by="daemon", now=now, kind="attempts", bars=True, **more)]


def _reason(claim: TaskClaim, run: Mapping[str, Any] | None) -> str:
    if run is None:
        return f"the session of its run {claim.run_id} was deleted"
    error = run.get("error") or {}
    if error:
        return f"{error['code']}: {error['message']}"[:1000]
    if run["status"] == "completed":
        return f"the run {claim.run_id} ended without completing it"
    return f"the run {claim.run_id} was {run['status']}"


def _within(output: str) -> str:
    raw = output.encode()
    if len(raw) <= OUTPUT_BYTES:
        return output
    return raw[: OUTPUT_BYTES - len(_CUT.encode())].decode(errors="ignore") + _CUT


def after_delay(task: ProjectTask, now: float) -> list[Draft]:
    """Return the end of a block by a limit of a provider, if its time has come."""
    if task.block_kind != "transient" or task.retry_at is None or task.retry_at > ids.stamp(now):
        return []
    return [events.ProjectTaskUnblocked(project=task.project, task_id=task.task_id).on()]


def answered(task: ProjectTask, question: Mapping[str, Any]) -> list[Draft]:
    """Return what follows from a person's answer to the question about a task."""
    if task.question_id != question["question_id"] or question["status"] != "answered":
        return []
    given: Mapping[str, Any] = next(iter((question["answers"] or {}).values()), {})
    selected, words, by = given.get("selected") or [], given.get("text"), question["answered_by"] or "daemon"
    project, task_id = task.project, task.task_id
    if text.CANCEL in selected:
        ended = events.ProjectTaskEnded(project=project, task_id=task_id, status="cancelled", reason=words)
        return [ended.on(by=by)]
    if text.LEAVE in selected:
        return []
    drafts = [events.ProjectTaskUnblocked(project=project, task_id=task_id, fresh=True).on(by=by)]
    if words:
        described = f"{task.description}\n\nA person added: {words[:2000]}".strip()
        more = events.ProjectTaskUpdated(project=project, task_id=task_id, changes={"description": described})
        drafts.append(more.on(by=by))
    return drafts
