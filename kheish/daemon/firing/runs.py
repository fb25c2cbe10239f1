"""Runs of schedules: their target, their session, and their input."""

from __future__ import annotations

from dataclasses import dataclass

from kheish.auth.tokens import Principal
from kheish.daemon.ingress.opening import open_session
from kheish.daemon.workspaces import Workspaces
from kheish.domain import intake
from kheish.domain.events import Draft, Item
from kheish.domain.schedules import firing
from kheish.domain.schedules.definition import NewSession, RunInput, ScheduleFile, ScheduleStart
from kheish.domain.sessions.session import Session
from kheish.runtime.observations import selecting
from kheish.state.state import State

_FILE = Principal(name="schedules", role="admin")


@dataclass(frozen=True, slots=True)
class Target:
    """The session of a run, and its task."""

    session: str | None
    new_session: NewSession | None
    task: RunInput


@dataclass(frozen=True, slots=True)
class Place:
    """The schedule of a run, with the services that its start needs."""

    state: State
    workspaces: Workspaces
    schedule_id: str
    file: ScheduleFile


def target(start: ScheduleStart) -> Target:
    """Return the target of a start that is a run."""
    if start.observations is None:
        assert start.input is not None
        return Target(start.session, start.new_session, start.input)
    to = start.observations.to
    task = RunInput(content=to.content or selecting.TASK, metadata=dict(to.metadata), route=to.route)
    return Target(to.session, to.new_session, task)


def wanted(place: Place, planned: str, session_id: str, task: RunInput, parts: tuple[Item, ...]) -> intake.Input:
    """Return the input of a run; the observations follow the task."""
    file = place.file
    return intake.Input(
        session_id=session_id,
        items=(Item(text=task.content), *parts),
        actor=firing.actor(place.schedule_id),
        source="schedule",
        kind="observation_input" if file.start.observations is not None else "scheduled_input",
        metadata=firing.metadata(place.schedule_id, planned, task.metadata),
        route=task.route,
        model=task.model,
        generation=dict(task.generation),
        budget=task.budget.model_dump(exclude_none=True) if task.budget else None,
        completion=task.required,
        reply_targets=file.targets,
        checks_ask=True,
        unattended=file.unattended,
    )


async def session(place: Place, session_id: str, new: NewSession) -> tuple[Draft | None, Session]:
    """Return the session of a run, and the entry that creates a missing one. Its id follows from the fire."""
    return await open_session(
        place.state,
        place.workspaces,
        session_id,
        new,
        labels={"schedule": place.schedule_id},
        title=place.file.title,
        caller=_FILE,
        by=firing.actor(place.schedule_id),
    )
