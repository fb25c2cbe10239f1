"""Commands in the foreground: `bash`, each a job that survives the daemon, confined if the sandbox works."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from kheish.beneath import files, names, pool
from kheish.config import Config
from kheish.domain.events import ShellEnding
from kheish.domain.permissions import match as permission_match
from kheish.domain.turns import Turn
from kheish.errors import KheishError
from kheish.jobs import gitdirs, plainline, plainrun, sandbox
from kheish.jobs.commands import Commands
from kheish.jobs.runner import JobEnd, JobSpec, JobState, Limits
from kheish.runtime.skills.service import MOUNTED, environment as skills_environment
from kheish.runtime.tools import truncate
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.store.git import command as git
from kheish.store.git.command import EMAIL, NAME

_IDENTITY_SECONDS = 30.0
_SHELL = ("bash", "--noprofile", "--norc", "-c")
_SHOWN_BYTES = 30 * 1024
_MAX_SECONDS = 600.0
_ADVICE = "run it again with head, tail or grep, or write it to a file, to see them"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """The section `sandbox` of kheish.yaml, and whether bubblewrap works here (`kheish.jobs.probing.probe`).

    `hide`: paths that no command may see (state root, tokens, keys); `read_only`: further readable folders. `identity`:
    name and address of commits, if kheish.yaml has them (`git`).
    """

    mode: Literal["required", "ask", "off"]
    available: bool
    read_only: tuple[Path, ...] = ()
    hide: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)
    identity: tuple[str | None, str | None] = (None, None)


class Command(Arguments):
    command: str = Field(
        min_length=1, max_length=100_000, pattern=r"^[^\x00]*$", description="The command line, run by bash -c."
    )
    description: str | None = Field(
        None,
        max_length=500,
        description="What it does, in five to ten words, for the person who may have to allow it.",
    )
    workdir: str | None = Field(
        None, description="Folder to run in, relative to the workspace; the workspace itself if left out."
    )


class Bash(Command):
    timeout: float = Field(
        120.0, gt=0, le=_MAX_SECONDS, description="Seconds after which it and its children are ended; at most 600."
    )


def settings_of(config: Config, *, available: bool, hide: tuple[Path, ...]) -> SandboxSettings:
    """Return how a command is confined by the settings of now. A changed kheish.yaml holds for the next command."""
    return SandboxSettings(
        mode=config.sandbox.mode,
        available=available,
        read_only=tuple(Path(path).expanduser() for path in config.sandbox.read_only),
        hide=hide,
        limits=Limits(
            processes=config.sandbox.processes, memory=config.sandbox.memory, file_size=config.sandbox.file_size
        ),
        identity=(config.git.name, config.git.email),
    )


def make(settings: Callable[[], SandboxSettings]) -> Tool:
    """Return the tool.

    `settings` is called when a command is planned, so that a changed kheish.yaml applies to the next command.
    """

    async def plan(arguments: Bash, context: Context) -> Mapping[str, Any]:
        return await plan_job(arguments, context, settings(), timeout=arguments.timeout)

    async def run(arguments: Bash, context: Context) -> Result:
        note = context.note or await plan(arguments, context)
        return await _run(str(note["job"]), arguments, context)

    return Tool(
        name="bash",
        description=(
            "Run a command with bash in the workspace, and return its output (stdout and stderr as they come) and, "
            "where it is not 0, its exit status. Each call is a new shell: folder and variables do not carry over, "
            "there is no terminal and no input, and the network may be cut off. What it leaves running is ended with "
            "it. Prefer read_file, grep_search, "
            "glob_search, write_file and edit_file for files."
        ),
        arguments=Bash,
        effect=Effect.EFFECT,
        replay=Replay.UNSAFE,
        run=run,
        plan=plan,
        recover=_recover,
        max_result_bytes=_SHOWN_BYTES + 2048,
        timeout=_MAX_SECONDS + 60.0,  # the runner ends the command; this limit is for a hung runner
    )


def job_id(key: str, attempt: int = 1) -> str:
    """Return the id of a call's job."""
    name = f"job_{hashlib.sha256(key.encode()).hexdigest()[:26]}"
    return name if attempt == 1 else f"{name}-{attempt}"


async def plan_job(
    arguments: Command, context: Context, settings: SandboxSettings, *, timeout: float
) -> Mapping[str, Any]:
    """Create the job of a command, and return the note for `tool.started`. Raises ToolError."""
    if settings.mode == "required" and not settings.available:
        raise ToolError(
            "Commands cannot run: sandbox.mode is `required` and bubblewrap does not work on this machine. Continue "
            "without commands, or tell the operator."
        )
    try:
        shown = await skills_in_use(context)
        spec = await pool.run(context.door, _spec, arguments, context, settings, timeout, shown)
        name = await _choose_job_id(context.jobs, context.key)
        await context.jobs.create(name, spec)
    except (KheishError, OSError) as error:
        raise ToolError(f"The command cannot be run: {error}") from error
    return note_of(name, arguments, context, confined=is_confined(settings))


def note_of(job: str, arguments: Command, context: Context, *, confined: bool) -> Mapping[str, Any]:
    """Return the note of a command's call."""
    note: dict[str, Any] = {"job": job, "confined": confined, "network": context.network}
    if context.as_read and (runs := plainrun.emit(_plain(arguments))) != arguments.command:
        note["runs"] = runs
    return note


async def _choose_job_id(jobs: Commands, key: str) -> str:
    """Return the id for a new job of this call.

    If a plan's `tool.started` was never written, its job never started: its settings may be outdated, so it is
    recreated. A job that did start belongs to an earlier attempt, which a person decided to repeat.
    """
    attempt = 1
    while True:
        name = job_id(key, attempt)
        state = await jobs.look(name)
        if state is JobState.UNCLAIMED and await asyncio.to_thread(jobs.claim, name):
            state = JobState.WITHDRAWN
        if state is JobState.WITHDRAWN:
            await jobs.drop(name)
            state = JobState.MISSING
        if state is JobState.MISSING:
            return name
        attempt += 1


async def skills_in_use(context: Context) -> Mapping[str, Path]:
    """Return the folders of the skills in use, by name, the newest last."""
    if context.mounted is not None:
        return context.mounted
    if context.skills is None:
        return {}
    turn = context.state.find(Turn, context.run_id)
    return await context.skills.mounts(context.session_id, turn.skills if turn is not None else ())


def _spec(
    arguments: Command,
    context: Context,
    settings: SandboxSettings,
    timeout: float,
    skills: Mapping[str, Path] = MappingProxyType({}),
) -> JobSpec:
    root = context.workspace.resolve()
    folder = root
    if arguments.workdir:
        with files.open_folder(context.door, arguments.workdir) as (_, where):
            folder = root / names.meant(where)
    argv = _argv(arguments, context, root)
    environment = sandbox.clean_environment(root, settings.read_only, identity=_identity(root, settings.identity))
    environment |= skills_environment(skills, is_confined=is_confined(settings))
    guard: tuple[Path, ...] = ()
    if is_confined(settings):
        if folder != root:  # bwrap starts in the workspace
            argv = (*_SHELL, 'cd -- "$1" && exec "${@:2}"', "bash", str(folder), *argv)
        repositories = gitdirs.repositories(root)
        argv = sandbox.wrap(
            argv,
            workspace=root,
            hide=settings.hide,
            read_only=settings.read_only,
            network=context.network,
            memory=settings.limits.memory,
            repositories=repositories,
            shown={Path(MOUNTED) / name: place for name, place in skills.items()},
        )
        guard = gitdirs.guarded(repositories)
    return JobSpec(
        argv=argv, cwd=str(folder), env=environment, timeout=timeout, owner=context.run_id, limits=settings.limits,
        guard=tuple(map(str, guard)),
    )  # fmt: skip


def _identity(workspace: Path, said: tuple[str | None, str | None]) -> tuple[str, str]:
    """Return the author of commits: from kheish.yaml, else git's for the workspace, else Kheish's own (git would refuse
    to commit without an author).
    """
    name, email = said if all(said) else _identity_of(workspace, int(time.monotonic() // _IDENTITY_SECONDS))
    return said[0] or name or NAME, said[1] or email or EMAIL


@lru_cache(maxsize=256)
def _identity_of(workspace: Path, _: int) -> tuple[str, str]:
    """Query git's identity, with a cache: it takes two processes, and most sessions run many commands."""
    return git.identity(workspace)


def _argv(arguments: Command, context: Context, root: Path) -> tuple[str, ...]:
    """Return the command line to run: the text as it was written, or as the rules that allowed it parsed it."""
    if not context.as_read:
        return *_SHELL, arguments.command
    plain, folder = _plain(arguments), arguments.workdir or "."

    def path_of(target: str) -> str:
        parts = permission_match.beneath(context.workspace, names.shown(target), folder)
        if not parts:
            raise ToolError(f"The command cannot be run: {target} is not a file of the workspace.")
        return "/".join(parts)

    return plainrun.argv(plain, root=str(root), path_of=path_of)


def _plain(arguments: Command) -> plainline.Plain:
    plain = plainline.read(arguments.command)
    if isinstance(plain, plainline.Refusal):  # decided by an earlier version, which parsed it differently
        raise ToolError(f"The command cannot be run as rules allowed it: {plain.why}.")
    return plain


def is_confined(settings: SandboxSettings) -> bool:
    """Return whether commands run in the sandbox."""
    return settings.available and settings.mode != "off"


async def _run(job: str, arguments: Bash, context: Context) -> Result:
    """Start the job and follow it to its end. A cancellation leaves the job alone: another part ends it."""
    end = await _start_and_wait(job, context)
    if end is None:
        return Result(
            content="The process that ran the command was killed: it may or may not have done its work.",
            is_error=True,
            detail={"job": job, "gone": True},
        )
    return _result(job, end, arguments)


async def _recover(arguments: Bash, context: Context) -> Result | None:
    """Recover a call by its job: a job that never started starts now; one that did is awaited, or its stored end is
    used; otherwise the outcome is unknown.
    """
    job = context.note.get("job")
    if not isinstance(job, str):
        return None
    match await context.jobs.look(job):
        case JobState.MISSING | JobState.GONE:
            return None
        case JobState.UNCLAIMED:
            # No claim of our own: between a late runner and ours, the claim file lets only one run the command.
            end = await _start_and_wait(job, context)
        case _:
            end = await context.jobs.wait(job, context.output)
    return None if end is None else _result(job, end, arguments)


async def _start_and_wait(job: str, context: Context) -> JobEnd | None:
    """Start the job and wait for its end.

    Returns None if the job is missing. Raises ToolError if the command never started.
    """
    try:
        await context.jobs.start(job)
        return await context.jobs.wait(job, context.output)
    except (KheishError, OSError) as error:
        raise ToolError(f"The command could not be started: {error}") from error


def _result(job: str, end: JobEnd, arguments: Bash) -> Result:
    ending = told(end, arguments.timeout)
    output = truncate.middle(end.output.rstrip("\n"), _SHOWN_BYTES, advice=_ADVICE)
    parts = [part for part in (output, *(f"[{one}]" for one in (ending, accounted(end)) if one)) if part]
    return Result(
        content="\n".join(parts) or "[no output]",
        is_error=bool(ending),
        detail={
            "job": job,
            "exit_status": end.exit_status,
            "signal": end.signal,
            "timed_out": end.timed_out,
            "stopped": end.stopped,
            "exceeded": end.exceeded,
            "ended": end.ended,
            "left": end.left,
            "duration": round(end.duration, 3),
            "output_bytes": end.output_bytes,
            # The part that the model does not get is sealed with the entry (spilled beside the journal).
            **({"output": end.output} if output != end.output.rstrip("\n") else {}),
        },
    )


def told(end: JobEnd | ShellEnding, timeout: float | None) -> str:
    """Describe the end for the model; empty for exit status 0."""
    if end.exceeded is not None:
        what = {"processes": "processes and threads", "memory": "memory"}.get(end.exceeded, end.exceeded)
        return f"ended: it had more {what} than a command may have (sandbox.{end.exceeded}); it did not finish"
    if end.timed_out:
        return f"ended after its timeout of {timeout:g} s; it did not finish"
    if end.stopped:
        never = end.exit_status is None and end.signal is None
        return "stopped before it started" if never else "stopped by a person or the daemon; it did not finish"
    if signal.SIGXFSZ in (end.signal, (end.exit_status or 0) - 128):
        return "killed: it wrote a larger file than a command may (sandbox.file_size)"
    if end.signal is not None:
        return f"killed by signal {end.signal}"
    if end.exit_status:
        return f"exit status {end.exit_status}"
    return ""


def accounted(end: JobEnd | ShellEnding) -> str:
    """Describe the processes that a command left; empty if it left none."""
    notes = []
    if end.ended > 1 or (end.ended and not (end.exceeded or end.timed_out or end.stopped)):
        notes.append(f"its processes that had to be ended: {end.ended}")
    if end.left:
        notes.append(f"those that could not be ended, and may still run: {end.left}")
    return "; ".join(notes)
