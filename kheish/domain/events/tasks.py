"""Events of session tasks: of work that agents and users track, and of background commands."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.domain.events.runs import Idempotency
from kheish.state.event import Event, Text, frozen

TaskStatus = Literal["pending", "in_progress", "blocked", "completed", "failed", "cancelled"]
BlockKind = Literal["dependency", "dependency_failed", "needs_input", "capability", "transient", "attempts"]
#: whether the end of a background command is posted to its session; `run`: also after a child agent has answered
Notify = bool | Literal["run"]


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
    """A task of a session; with `shell`, a background command (`description` is the command line).

    `waits_for` are the tasks in `blocked_by` that are not completed yet.
    """

    kind = "task.created"
    spillable = ("description", "output")
    task_id: str
    title: str
    description: Text = ""
    status: TaskStatus = "pending"
    owner: str | None = None
    blocked_by: tuple[str, ...] = ()
    shell: ShellTask | None = None
    waits_for: tuple[str, ...] = ()
    block_kind: BlockKind | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    output: Text | None = None
    notify: Notify = False
    idempotency: Idempotency | None = None


@frozen
class TaskUpdated(Event):
    """A change of a task that has not ended. A field that is null is unchanged; `blocked_by` comes with `waits_for`,
    and `status` with `block_kind`."""

    kind = "task.updated"
    spillable = ("description", "output")
    task_id: str
    title: str | None = None
    description: Text | None = None
    status: Literal["pending", "in_progress", "blocked"] | None = None
    block_kind: BlockKind | None = None
    owner: str | None = None
    has_no_owner: bool = False
    blocked_by: tuple[str, ...] | None = None
    waits_for: tuple[str, ...] | None = None
    metadata: dict[str, Any] | None = None
    output: Text | None = None


@frozen
class TaskWaited(Event):
    """A background command seems to wait for input: its last line is a prompt, and nothing came since; or it does not
    any more."""

    kind = "task.waits_for_input"
    task_id: str
    waits: bool
    line: str = ""


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
