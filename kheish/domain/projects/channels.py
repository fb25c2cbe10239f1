"""The threads of tasks in the default channel of their project."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kheish.domain.channels import threads
from kheish.domain.channels.channel import CHANNELS
from kheish.domain.events import Draft
from kheish.domain.events.projects import PROJECT_TASK
from kheish.domain.projects.definition import ProjectFile
from kheish.domain.projects.task import ProjectTask
from kheish.state import pins

if TYPE_CHECKING:
    from kheish.state.state import State


def default_channel(file: ProjectFile) -> str | None:
    """Return the channel in which the threads of tasks are opened."""
    return next((one.channel for one in file.channels if one.default), None)


@asynccontextmanager
async def using(state: State, file: ProjectFile) -> AsyncIterator[None]:
    """Keep the default channel of a project loaded. Raises Unavailable."""
    channel = default_channel(file)
    if channel is None:
        yield
        return
    async with pins.owner(state, CHANNELS, channel):
        yield


def open_thread(state: State, file: ProjectFile, task: ProjectTask) -> tuple[str | None, list[Draft]]:
    """Return the thread of a task and the drafts that open it; without a default channel, there is none, and a task
    that is started again keeps its own."""
    channel = default_channel(file)
    if channel is None or task.thread is not None:
        return task.thread, []
    text = f"{task.title} ({task.task_id}) is started; {task.assignee} works on it."
    about = ({"kind": PROJECT_TASK, "id": task.key},)
    return threads.open_thread(state, channel, text, by=f"projects:{task.project}", about=about)
