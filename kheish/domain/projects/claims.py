"""Claims on tasks: only the holder changes a task, and each of its changes names the claim, so that a holder that lost
it cannot finish the work of another.

A verb needs the project loaded and the task recalled, as those in `verbs` do. A start also needs the session of the
assignee loaded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from kheish import ids
from kheish.domain import events, intake, keys
from kheish.domain.events import Draft, Item, frozen
from kheish.domain.events.projects import PROJECT_TASK, ProjectBlockKind
from kheish.domain.keys import Key
from kheish.domain.projects import channels, holders, task as tasks, text, verbs
from kheish.domain.projects.project import PROJECTS
from kheish.domain.projects.task import FINAL, ProjectTask, TaskClaim, has_lapsed, key_of
from kheish.domain.projects.verbs import Place
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.errors import ClaimLost, Fault, Forbidden, Invalid, TaskBlocked, TaskStateConflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kheish.state.state import State

#: seconds for which an outside holder has a task: the default, the least and the most
TTL, LEAST_TTL, MOST_TTL = 300.0, 5.0, 86_400.0
#: seconds in which the agent whose run gave a task up does not get it back
BAR = 60.0
#: attempts of runs that come to nothing, after which a person is asked
ATTEMPTS = 3


@frozen
class Holder:
    """The holder of a claim: a member, or an outside holder. A claim with `run_id` ends with that run."""

    by: str
    is_member: bool = False
    session_id: str | None = None
    run_id: str | None = None
    ttl: float | None = None


def seconds(written: str | None) -> float:
    """Return a written time of a claim in seconds. Raises Invalid."""
    try:
        found = ids.duration(written) if written is not None else TTL
    except ValueError as error:
        raise Invalid(f"ttl: {error}.", errors=[Fault("/ttl", str(error))]) from error
    if not LEAST_TTL <= found <= MOST_TTL:
        raise Invalid("ttl: must be 5s to 24h.", errors=[Fault("/ttl", "must be 5s to 24h")])
    return found


def claim(
    state: State, place: Place, task_id: str, holder: Holder, claim_id: str | None = None, key: Key | None = None
) -> TaskClaim:
    """Claim a task, and return the claim; one with this id that stands stays as it is.

    Raises NotFound, TaskClaimed, TaskBlocked, TaskStateConflict.
    """
    verbs.check_active(state, place.project)
    task = verbs.open_task(state, place.project, task_id)
    if task.claim is not None and task.claim.claim_id == claim_id:
        return task.claim
    now = state.clock()
    _check_free(task, now)
    if holder.session_id is not None:
        _check_agent(state, task, holder.session_id, now)
    check_room(state, place, task)
    claimed = events.ProjectTaskClaimed(
        project=place.project,
        task_id=task_id,
        claim_id=claim_id or ids.new("claim"),
        by=holder.by,
        member=holder.is_member,
        session_id=holder.session_id,
        run_id=holder.run_id,
        expires_at=ids.stamp(now + (holder.ttl or TTL)) if holder.run_id is None else None,
        idempotency=keys.sent(key),
    )
    drafts = [claimed.on(by=place.by)]
    if holder.run_id is not None:
        joined = events.RunJoinedProject(project=place.project, task_id=task_id, tainted_by=task.tainted_by)
        drafts.append(joined.on(holder.session_id, holder.run_id, by=place.by))
    verbs.append(state, *drafts)
    found = verbs.open_task(state, place.project, task_id).claim
    assert found is not None
    return found


def _check_free(task: ProjectTask, now: float) -> None:
    """Raise TaskClaimed, TaskBlocked or TaskStateConflict if a task cannot be claimed now."""
    if task.claim is not None and not has_lapsed(task.claim, ids.stamp(now)):
        raise verbs.claimed(task)
    if task.waits_for or task.failed:
        raise verbs.blocked(task)
    is_over = task.block_kind == "transient" and task.retry_at is not None and task.retry_at <= ids.stamp(now)
    if task.status == "blocked" and task.claim is None and not is_over:
        raise verbs.blocked(task)
    if task.status == "in_review":
        raise TaskStateConflict(f"The task {task.task_id!r} is in review; a person accepts or rejects it.")


def _check_agent(state: State, task: ProjectTask, session_id: str, now: float) -> None:
    other = holders.busy(state, session_id, task)
    if other is not None:
        raise TaskBlocked(f"{session_id} works on the task {other}; one at a time: complete or release it first.",
                          tasks=[other])  # fmt: skip
    if task.barred_session == session_id and (task.barred_until or "") > ids.stamp(now):
        raise TaskBlocked(
            f"A run of {session_id} has just given the task {task.task_id!r} up; it gets it back after "
            f"{task.barred_until}.",
            retry_at=task.barred_until,
        )


def check_room(state: State, place: Place, task: ProjectTask) -> None:
    """Raise TaskBlocked if as many tasks are worked on as the project permits. Claims that have lapsed do not count."""
    most = place.file.max_claims
    if most is None or verbs.get(state, place.project).claimed < most:
        return
    now = ids.stamp(state.clock())
    table = state.table(ProjectTask, f"{PROJECTS}/{place.project}").values()
    if sum(one.claim is not None and not has_lapsed(one.claim, now) and one is not task for one in table) >= most:
        raise TaskBlocked(
            f"The project {place.project!r} has {most} {'task' if most == 1 else 'tasks'} in progress, which is its "
            "max_claims; wait until one ends, or raise max_claims in its file.",
            max_claims=most,
        )


# --- changes by the holder --------------------------------------------------------------------------------------------


def held(state: State, project: str, task_id: str, claim_id: str) -> ProjectTask:
    """Return the task that a claim holds. Raises NotFound, ClaimLost."""
    task = state.find(ProjectTask, key_of(project, task_id))
    if task is not None and task.is_open and task.claim is not None and task.claim.claim_id == claim_id:
        return task
    doc = verbs.document(state, project, task_id)
    now = f"{doc['claim']['by']} has it now" if doc["claim"] is not None else f"the task is {doc['status']}"
    raise ClaimLost(
        f"The claim {claim_id!r} on the task {task_id!r} has ended: {now}. Nothing was changed.",
        status_now=doc["status"],
        claimed_by=doc["claim"]["by"] if doc["claim"] is not None else None,
    )


def holding(state: State, place: Place, task_id: str, claim_id: str) -> ProjectTask:
    """Return the task that a claim holds, for a change by its holder. The claim of an agent's run is the agent's, or
    that of the caller who claimed it for the run: others could answer in its name.

    Raises NotFound, ClaimLost, Forbidden.
    """
    task = held(state, place.project, task_id, claim_id)
    claim = task.claim
    is_open = claim is None or claim.run_id is None or claim.session_id == place.session_id
    if claim is None or is_open or (not claim.started and claim.made_by == place.by):
        return task
    raise Forbidden(
        f"{claim.by} works on the task {task_id!r} in the run {claim.run_id}, and alone changes it. Its claim ends "
        "with the run; cancel the run, or the task.",
        claimed_by=claim.by,
        run_id=claim.run_id,
    )


def extend(state: State, place: Place, task_id: str, claim_id: str, ttl: float) -> TaskClaim:
    """Extend the claim of an outside holder; that of a run needs none. Raises NotFound, ClaimLost."""
    task = held(state, place.project, task_id, claim_id)
    assert task.claim is not None
    if task.claim.run_id is None:
        # A heartbeat never shortens what a longer `ttl` gave before.
        until = max(task.claim.expires_at or "", ids.stamp(state.clock() + ttl))
        extended = events.ProjectTaskExtended(
            project=place.project, task_id=task_id, claim_id=claim_id, expires_at=until
        )
        verbs.append(state, extended.on(by=place.by))
    return held(state, place.project, task_id, claim_id).claim or task.claim


def release(state: State, place: Place, task_id: str, claim_id: str, reason: str | None,
            kind: ProjectBlockKind | None = None) -> ProjectTask:  # fmt: skip
    """Give a task back: it is pending, or blocked. Raises NotFound, ClaimLost, Forbidden."""
    task = holding(state, place, task_id, claim_id)
    more = {"tainted_by": place.tainted_by}
    verbs.append(state, released(task, reason, by=place.by, kind=kind, bars=True, now=state.clock(), **more))
    return verbs.open_task(state, place.project, task_id)


def released(
    task: ProjectTask,
    reason: str | None,
    *,
    by: str,
    now: float,
    kind: ProjectBlockKind | None = None,
    bars: bool = False,
    **more: Any,
) -> Draft:
    """Return the draft of the end of a claim without a result. `bars`: the agent whose run had it waits a minute."""
    assert task.claim is not None
    until = ids.stamp(now + BAR) if bars and task.claim.run_id is not None else None
    return events.ProjectTaskReleased(
        project=task.project,
        task_id=task.task_id,
        claim_id=task.claim.claim_id,
        reason=reason,
        block_kind=kind,
        barred_until=until,
        **{"failures": task.failures, **more},
    ).on(by=by)


def complete(
    state: State,
    place: Place,
    task_id: str,
    claim_id: str,
    output: str | None,
    status: Literal["completed", "in_review", "failed", "cancelled"] = "completed",
    reason: str | None = None,
) -> None:
    """End a task as its holder; a result waits for a person where the project has it so.

    Raises NotFound, ClaimLost, Forbidden, Invalid.
    """
    if len((output or "").encode()) > verbs.OUTPUT_BYTES:
        fault = Fault("/output", f"has more than {verbs.OUTPUT_BYTES // 1024} KiB; write a file, and name it here")
        raise Invalid(f"{fault.path}: {fault.message}.", errors=[fault])
    holding(state, place, task_id, claim_id)
    verbs.append(state, result(place, task_id, output, status, reason).on(by=place.by))


def result(
    place: Place, task_id: str, output: str | None, status: str, reason: str | None = None
) -> events.ProjectTaskReviewed | events.ProjectTaskEnded:
    """Return the event of a result."""
    if status == "in_review" or (status == "completed" and place.file.review):
        return events.ProjectTaskReviewed(
            project=place.project, task_id=task_id, output=output, reason=reason, person=place.person
        )
    return events.ProjectTaskEnded(
        project=place.project, task_id=task_id, status=status, output=output, reason=reason  # type: ignore[arg-type]  # the callers' bodies check it
    )  # fmt: skip


# --- starts by the daemon ---------------------------------------------------------------------------------------------


@frozen
class Started:
    """A start that passed all checks: the run, and the group that creates it."""

    run_id: str
    session_id: str
    drafts: tuple[Draft, ...]


def session_of(place: Place, task_id: str, assignee: str | None) -> str:
    """Return the session of the assignee of a task. Raises TaskStateConflict."""
    member = place.file.member(assignee)
    if member is None or member.session_id is None:
        what = f"{member.member} is a human" if member is not None else "it has no assignee"
        raise TaskStateConflict(
            f"The task {task_id!r} cannot be started: {what}. Assign it to a member that is a session or an agent: "
            f"kheish projects tasks update {place.project} {task_id} --assignee MEMBER."
        )
    return member.session_id


def start(state: State, place: Place, task_id: str, *, new: events.ProjectTaskCreated | None = None,
          is_repeated: bool = False, key: Key | None = None) -> Started:  # fmt: skip
    """Return the start of a run for a task; `new` is one that the group creates. A task that failed or was cancelled is
    opened again; if `is_repeated`, also one that is completed. The session of the assignee is loaded.

    Raises NotFound, TaskClaimed, TaskBlocked, TaskStateConflict, SessionEnded; and as `intake.draft`.
    """
    verbs.check_active(state, place.project)
    if new is None:
        doc = verbs.document(state, place.project, task_id)
        if doc["status"] in FINAL and (is_repeated or doc["status"] != "completed"):
            new = verbs.reopened(
                state, doc, doc["reason"], failures=doc["failures"] if doc["status"] == "failed" else 0
            )
    now = state.clock()
    if new is not None:
        task = tasks.opened(new, 0, ids.stamp(now), place.by)
    else:
        task = verbs.open_task(state, place.project, task_id)
    session_id = session_of(place, task_id, task.assignee)
    if task.claim is not None and not has_lapsed(task.claim, ids.stamp(now)):
        raise verbs.claimed(task)
    if task.waits_for or task.failed:
        raise verbs.blocked(task)
    if task.status == "in_review":
        _check_free(task, now)
    other = holders.busy(state, session_id, task)
    if other is not None:
        raise TaskBlocked(f"{session_id} works on the task {other}; one at a time.", tasks=[other])
    check_room(state, place, task)
    beside = [new.on(by=place.by)] if new is not None else []
    return _started(state, place, task, sessions.accepting(state, session_id), beside, key)


def _started(
    state: State, place: Place, task: ProjectTask, session: Session, beside: Sequence[Draft], key: Key | None
) -> Started:
    given = intake.Input(
        session_id=session.session_id,
        items=(Item(text=text.of(task, place.file)),),
        actor=f"project:{place.project}",
        source="project",
        kind=PROJECT_TASK,
        metadata={"project": place.project, "task_id": task.task_id, "attempt": task.attempt},
        project=place.project,
        key=key,
        run_id=ids.new("run"),
    )
    # An input contract is for callers, and this text is the daemon's.
    run_id, submitted = intake.draft(state, session, replace(given, checked=intake.schemas_key(session, given)))
    thread, opened = channels.open_thread(state, place.file, task)
    claimed = events.ProjectTaskClaimed(
        project=place.project,
        task_id=task.task_id,
        claim_id=ids.new("claim"),
        by=task.assignee or "",
        session_id=session.session_id,
        run_id=run_id,
        started=True,
        thread=thread,
    )
    joined = events.RunJoinedProject(project=place.project, task_id=task.task_id, tainted_by=task.tainted_by)
    freed = events.ProjectTaskUnblocked(project=place.project, task_id=task.task_id, fresh=True)
    group = [
        *beside,
        *opened,
        *([freed.on(by=place.by)] if task.status == "blocked" else []),
        claimed.on(by=place.by),
        submitted.on(session.session_id, run_id, by=f"project:{place.project}"),
        joined.on(session.session_id, run_id, by=place.by),
    ]
    return Started(run_id=run_id, session_id=session.session_id, drafts=tuple(group))
