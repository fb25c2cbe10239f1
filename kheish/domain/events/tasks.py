"""Events of session tasks: currently background commands, in the form that all tasks will have."""

from __future__ import annotations

from typing import Literal

from kheish.state.event import Event, Text, frozen

TaskStatus = Literal["pending", "in_progress", "blocked", "completed", "failed", "cancelled"]


@frozen
class ShellTask:
    """The background command of a task: its job, and its timeout in seconds (None: no timeout)."""

    job: str
    timeout: float | None = None


@frozen
class ShellEnding:
    """The end of a background command.

    `lost`: its runner was killed, so the end is unknown. `exceeded`: the limit that caused the kill. `ended` counts its
    processes that had to be killed, `left` those that could not be killed.
    """

    exit_status: int | None = None
    signal: int | None = None
    timed_out: bool = False
    stopped: bool = False
    lost: bool = False
    output_bytes: int = 0
    truncated: bool = False
    duration: float | None = None
    exceeded: str | None = None
    ended: int = 0
    left: int = 0


@frozen
class TaskCreated(Event):
    """A task of a session; with `shell`, a background command (`description` is the command line)."""

    kind = "task.created"
    spillable = ("description",)
    task_id: str
    title: str
    description: Text = ""
    status: TaskStatus = "pending"
    owner: str | None = None
    blocked_by: tuple[str, ...] = ()
    shell: ShellTask | None = None


@frozen
class TaskStopRequested(Event):
    """A request to stop a background command; `task.ended` follows when it has ended."""

    kind = "task.stop_requested"
    task_id: str
    reason: str | None = None


@frozen
class TaskEnded(Event):
    """The end of a task. `output` of a background command is at most 8 MiB, with a note where it was cut."""

    kind = "task.ended"
    spillable = ("output",)
    task_id: str
    status: Literal["completed", "failed", "cancelled"]
    output: Text | None = None
    ending: ShellEnding | None = None
