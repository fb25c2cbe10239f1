"""The states of a run and its moves, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from kheish.domain import events
from kheish.domain.events import Event


class Status(StrEnum):
    """The states of a run (`runs.md`)."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    WAITING_FOR_QUESTION = "waiting_for_question"
    WAITING_FOR_AGENT = "waiting_for_agent"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.INTERRUPTED, Status.CANCELLED})
WAITING = frozenset({Status.WAITING_FOR_APPROVAL, Status.WAITING_FOR_QUESTION, Status.WAITING_FOR_AGENT})
LIVE = frozenset(Status) - FINAL
#: (status, event) → the possible new statuses. A missing key is an error.
TRANSITIONS: Mapping[tuple[Status, type[Event]], frozenset[Status]] = {
    (Status.QUEUED, events.RunStarted): frozenset({Status.RUNNING}),
    (Status.QUEUED, events.RunResumed): frozenset({Status.RUNNING}),
    (Status.QUEUED, events.RunFailed): frozenset({Status.FAILED}),
    (Status.QUEUED, events.RunCancelled): frozenset({Status.CANCELLED}),
    (Status.RUNNING, events.RunResumed): frozenset({Status.RUNNING}),  # a restart: the status is unchanged
    (Status.RUNNING, events.RunWaiting): WAITING,
    (Status.RUNNING, events.RunCompleted): frozenset({Status.COMPLETED}),
    (Status.RUNNING, events.RunFailed): frozenset({Status.FAILED}),
    (Status.RUNNING, events.RunInterrupted): frozenset({Status.INTERRUPTED}),
    (Status.RUNNING, events.RunCancelled): frozenset({Status.CANCELLED}),
    **{
        (waiting, event): frozenset({target})
        for waiting in WAITING
        for event, target in (
            (events.RunRequeued, Status.QUEUED),
            (events.RunFailed, Status.FAILED),
            (events.RunInterrupted, Status.INTERRUPTED),
            (events.RunCancelled, Status.CANCELLED),
        )
    },
}
