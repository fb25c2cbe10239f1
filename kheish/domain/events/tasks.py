"""Events of session tasks: so far background commands, in the shape that all tasks will have."""

from __future__ import annotations

from typing import Literal

from kheish.state.event import Event, Text, frozen

TaskStatus = Literal["pending", "in_progress", "blocked", "completed", "failed", "cancelled"]


@frozen
class ShellTask:
    """What runs in the background: its job, and the seconds after which it is ended (None: no such limit)."""

    job: str
    timeout: float | None = None


@frozen
class ShellEnding:
    """How a background command ended. `lost`: its runner was killed, so that nothing shows its end. `exceeded`: the
    limit for which it was ended; `ended` counts its processes that had to be ended, `left` those that could not."""

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
    """Somebody wants a background command to end; `task.ended` follows when it has."""

    kind = "task.stop_requested"
    task_id: str
    reason: str | None = None


@frozen
class TaskEnded(Event):
    """`output` is what a background command wrote: at most 8 MiB, with a note where something was cut."""

    kind = "task.ended"
    spillable = ("output",)
    task_id: str
    status: Literal["completed", "failed", "cancelled"]
    output: Text | None = None
    ending: ShellEnding | None = None
