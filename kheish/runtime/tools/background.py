"""Commands in the background: `shell_task_start`, `task_output`, `task_stop`.

Each is a session task over a job, like `bash`'s. It outlives the call, the run and the daemon; the daemon waits for its
end and journals it (`kheish/daemon/reactors/tasks.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from kheish.domain import events
from kheish.domain.tasks.task import FINAL, Task, id_of
from kheish.errors import KheishError, NotFound
from kheish.ids import LONGEST, MOST
from kheish.jobs.runner import JobState
from kheish.runtime.tools import reading, shell
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.shell import Command, SandboxSettings

_TITLE = 120
_LONGEST_WAIT = 60.0
_LOOK_EVERY = 0.1
_STOP_GRACE = 5.0


class ShellTaskStart(Command):
    timeout: float | None = Field(
        None,
        gt=0,
        le=LONGEST,
        description="Seconds after which it and its children are ended; left out: it runs until it ends or is stopped.",
    )
    notify: bool | Literal["run"] = Field(
        True, description="Whether you get a message when it ends; run: also after you have answered, as a child agent."
    )


class TaskOutput(Arguments):
    task_id: str = Field(min_length=1, max_length=128, description="As shell_task_start returned it.")
    offset: int | None = Field(
        None,
        ge=0,
        le=MOST,
        description="Bytes to leave out from the beginning: the `next` of the last answer reads on.",
    )
    tail: int | None = Field(None, ge=1, le=2000, description="Only the last lines, this many.")
    wait: float = Field(
        0.0,
        ge=0,
        le=_LONGEST_WAIT,
        description="Seconds to wait for its end (with offset: for more output, too); at most 60.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> TaskOutput:
        if self.offset is not None and self.tail is not None:
            raise ValueError("give offset or tail, not both")
        return self


class TaskStop(Arguments):
    task_id: str = Field(min_length=1, max_length=128, description="As shell_task_start returned it.")


def make(settings: Callable[[], SandboxSettings]) -> tuple[Tool, ...]:
    """Return the tools. `settings` is called when a command is planned."""

    async def plan(arguments: ShellTaskStart, context: Context) -> Mapping[str, Any]:
        timeout = math.inf if arguments.timeout is None else arguments.timeout
        return await shell.plan_job(arguments, context, settings(), timeout=timeout)

    async def start(arguments: ShellTaskStart, context: Context) -> Result:
        return await _start(str((context.note or await plan(arguments, context))["job"]), arguments, context)

    start_tool = Tool(
        name="shell_task_start",
        description=(
            "Start a command with bash in the workspace, and return at once: for servers, watchers and long builds. "
            "Returns a task id for task_output and task_stop. The command continues when this run ends; it ends by "
            "itself, by its timeout, by task_stop, or with the session. It has no terminal and no input."
        ),
        arguments=ShellTaskStart,
        effect=Effect.EFFECT,
        replay=Replay.UNSAFE,
        run=start,
        plan=plan,
        recover=_recover,
    )
    return (start_tool, _OUTPUT, _STOP)


# --- starting ---------------------------------------------------------------------------------------------------------


async def _start(job: str, arguments: ShellTaskStart, context: Context) -> Result:
    try:
        await context.jobs.start(job)
    except (KheishError, OSError) as error:
        raise ToolError(f"The command could not be started: {error}") from error
    return _report_start(job, arguments, context)


async def _recover(arguments: ShellTaskStart, context: Context) -> Result | None:
    """Return the start as this call's result, if the job has started; the end of the command belongs to the task."""
    job = context.note.get("job")
    if not isinstance(job, str):
        return None
    match await context.jobs.look(job):
        case JobState.MISSING:
            return None
        case JobState.UNCLAIMED:
            return await _start(job, arguments, context)
        case _:
            return _report_start(job, arguments, context)


def _report_start(job: str, arguments: ShellTaskStart, context: Context) -> Result:
    task_id = id_of(job)
    title = " ".join((arguments.description or arguments.command).split())
    created = events.TaskCreated(
        task_id=task_id,
        title=title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…",
        description=arguments.command,
        status="in_progress",
        owner=context.agent_id,
        shell=events.ShellTask(job=job, timeout=arguments.timeout),  # nosec B604  # a field of a task, not subprocess's `shell`
        notify=arguments.notify,
    )
    return Result(
        content=f"Started in the background as {task_id}. Read its output with task_output, end it with task_stop."
        + (" Its end is a message to you; you need not wait for it." if arguments.notify else ""),
        detail={"task_id": task_id},  # no `job`: its folder stays until the task has ended
        drafts=(created.on(context.session_id, context.run_id, by=context.agent_id),),
    )


# --- reading ----------------------------------------------------------------------------------------------------------


async def _find(task_id: str, context: Context) -> Mapping[str, Any]:
    """Return the task's document. Raises ToolError if the session has no such task."""
    doc = await context.state.recall(Task, task_id)
    if doc is None or doc["session_id"] != context.session_id or doc["shell"] is None:
        known = [task.task_id for task in context.state.table(Task, context.session_id).values()]
        raise ToolError(
            f"There is no background command {task_id!r} in this session. "
            + (f"There are: {', '.join(known[-20:])}." if known else "None was started, or they ended long ago.")
        )
    return doc


async def _output(arguments: TaskOutput, context: Context) -> Result:
    until = time.monotonic() + arguments.wait
    while True:
        task = await _find(arguments.task_id, context)
        seen = await reading.see(context.state, context.jobs, task, arguments.offset, arguments.tail)
        is_news = task["status"] in FINAL or (arguments.offset is not None and bool(seen.text))
        if is_news or time.monotonic() >= until:
            break
        await asyncio.sleep(_LOOK_EVERY)
    head = (
        f"[{arguments.task_id}: {reading.standing(task)}; bytes {seen.start} to {seen.next} of {seen.total}; "
        f"next: {seen.next}]"
    )
    detail = {"task_id": arguments.task_id, "status": task["status"], "next": seen.next, "total": seen.total}
    return Result(content=f"{head}\n{seen.text}".rstrip("\n"), detail=detail)


# --- stopping ---------------------------------------------------------------------------------------------------------


async def _stop(arguments: TaskStop, context: Context) -> Result:
    task = await _find(arguments.task_id, context)
    detail = {"task_id": arguments.task_id}
    if task["status"] in FINAL:
        return Result(content=f"{arguments.task_id} had ended already: {reading.standing(task)}.", detail=detail)
    with contextlib.suppress(NotFound):  # it ended at this moment, and its folder is gone
        await context.jobs.stop(task["shell"]["job"], _STOP_GRACE)
    return Result(content=f"{arguments.task_id} was stopped, with all its processes.", detail=detail)


_OUTPUT = Tool(
    name="task_output",
    description=(
        "Read what a background command has written so far, and whether it still runs: its last 30 KiB, its last lines "
        "(tail), or what came after an offset. wait lets it take its time."
    ),
    arguments=TaskOutput,
    effect=Effect.READ,
    replay=Replay.SAFE,
    run=_output,
)
_STOP = Tool(
    name="task_stop",
    description="End a background command and all its processes: TERM, and after 5 seconds KILL.",
    arguments=TaskStop,
    effect=Effect.EFFECT,
    replay=Replay.SAFE,
    run=_stop,
)
