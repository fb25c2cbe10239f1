"""The operations of a worker: a table by name. They are the daemon's own tools and jobs, on this machine's disk.

Arguments are the daemon's; each operation reads the fields that it needs, and a missing one is an error of its call.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kheish.beneath import Door, Hidden, pool
from kheish.domain import workspaces
from kheish.domain.permissions.rules import ToolCall
from kheish.jobs import runner
from kheish.jobs.runner import Jobs, Limits
from kheish.jobs.values import JobState
from kheish.runtime import binding, locating
from kheish.runtime.tools import arguments as checking, background, edit, files, patch, search, shell
from kheish.runtime.tools.base import Context, Result, Suspended, Tool, ToolError
from kheish.runtime.tools.shell import SandboxSettings
from kheish.runtime.workers.far import about, skills, workspaces as copies

if TYPE_CHECKING:
    from kheish.state.state import State

_MOST_OUTPUT = 1024 * 1024
_ROOM = 0.1  # seconds between looks whether a command may start

Show = Callable[[int, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """The subject of the operations: the worker's own folder, the daemon's jobs in it, and whether commands are
    confined."""

    root: Path
    jobs: Jobs
    confines: bool
    home: str
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: set[str] = field(default_factory=set)

    @property
    def hidden(self) -> Hidden:
        """The paths that no tool may open here: the worker's own, and the user's keys and settings of Kheish."""
        home = Path.home()
        return Hidden((self.root, home / ".ssh", home / ".config" / "kheish", home / ".ray"))

    def door(self, args: Mapping[str, Any]) -> Door:
        """Return the door to the workspace that a call names."""
        return Door(Path(str(args["workspace"])), self.hidden)


# --- tools ------------------------------------------------------------------------------------------------------------


async def _tool(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run, plan, preview or recover a call of a workspace tool."""
    given, phase = args["context"], str(args["phase"])
    tool = _tools(place, args["settings"])[str(args["tool"])]
    try:
        arguments = await checking.parsed(tool, dict(args["arguments"]))
        async with asyncio.timeout(tool.timeout):
            return _answer(await _phase(tool, phase)(arguments, _context(place, given)))
    except TimeoutError:
        raise ToolError(f"The call took longer than {tool.timeout:g} s and was ended.") from None


def _phase(tool: Tool, phase: str) -> Callable[[Any, Context], Awaitable[Any]]:
    found = {"run": tool.run, "plan": tool.plan, "preview": tool.preview, "recover": tool.recover}[phase]
    if found is None:
        raise ToolError(f"{tool.name} has no {phase}.")
    return found


def _answer(outcome: Result | Suspended | Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    match outcome:
        case Result(content=content, is_error=is_error, detail=detail):
            return {"content": content, "is_error": is_error, "detail": dict(detail)}
        case Mapping():
            return {"note": dict(outcome)}
        case str():
            return {"text": outcome}
    return {}


def _tools(place: Place, given: Mapping[str, Any]) -> Mapping[str, Tool]:
    limits = Limits(**{name: given["limits"].get(name) for name in ("processes", "memory", "file_size")})
    name, email = given.get("identity") or (None, None)
    settings = SandboxSettings(
        mode=given["mode"], available=place.confines, hide=place.hidden.paths, limits=limits, identity=(name, email)
    )
    tools = (
        *files.TOOLS, *edit.TOOLS, *patch.TOOLS, *search.make(settings=lambda: settings), shell.make(lambda: settings),
        *background.make(lambda: settings),
    )  # fmt: skip
    return {tool.name: tool for tool in tools}


def _context(place: Place, given: Mapping[str, Any]) -> Context:
    return Context(
        session_id=str(given["session_id"]),
        run_id=str(given["run_id"]),
        call_id=str(given["call_id"]),
        agent_id=str(given["agent_id"]),
        workspace=Path(str(given["workspace"])),
        key=str(given["key"]),
        state=cast("State", None),  # workspace tools read none; the daemon answers what needs it (skills, assets)
        jobs=place.jobs,
        output=lambda _: None,
        note=given.get("note") or {},
        network=given.get("network") is True,
        hidden=place.hidden,
        judged=given.get("judged"),
        as_read=given.get("as_read") is True,
        mounted=skills.mounted(place.root, place.home, given.get("skills") or ()),
    )


async def _skills(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run one step of the sending of skills."""
    return await asyncio.to_thread(skills.act, place.root, place.home, args)


# --- decisions about paths --------------------------------------------------------------------------------------------


async def _locate(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where the paths and folders of a call lead."""
    call = ToolCall(tool=str(args["tool"]), effect=str(args["effect"]), arguments=dict(args["arguments"]))
    door = place.door(args)
    found, moved = await pool.run(door, locating.located, door, call)
    places = {folder: asdict(one) for folder, one in found.places.items()}
    return {"resolved": list(found.resolved), "places": places, "moved": dict(moved)}


async def _facts(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the programs and files that a command line names."""
    door = place.door(args)
    return asdict(await pool.run(door, binding.facts, door, dict(args["arguments"]), ()))


async def _usable(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return whether the workspace exists."""
    door = place.door(args)
    return {"usable": await pool.run(door, workspaces.is_usable, door)}


# --- jobs -------------------------------------------------------------------------------------------------------------


async def _start(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Start a job, once fewer than `most` of the daemon's jobs run here."""
    job, most = str(args["job"]), args.get("most")
    async with place.starting:  # in the order of their arrival
        while most is not None and await asyncio.to_thread(_must_wait, place, job, int(most)):  # noqa: ASYNC110 - jobs of other processes end, too
            await asyncio.sleep(_ROOM)
        await place.jobs.start(job)
        place.begun.add(job)
    return {}


def _must_wait(place: Place, job: str, most: int) -> bool:
    """Return whether a job that has not started must wait. Those begun here whose runners have not claimed them yet
    count as running."""
    states = {name: place.jobs.state(name) for name in place.jobs.list()}
    place.begun.intersection_update(states)
    if states.get(job) is not JobState.UNCLAIMED or job in place.begun:
        return False
    busy = [name for name, state in states.items() if state is JobState.RUNNING
            or (state is JobState.UNCLAIMED and name in place.begun)]  # fmt: skip
    return len(busy) >= most


async def _follow(place: Place, args: Mapping[str, Any], show: Show) -> Mapping[str, Any]:
    """Stream the output from an offset on, to the job's end."""
    end = await place.jobs.follow(str(args["job"]), int(args["offset"]), show)
    return {"end": None if end is None else asdict(replace(end, output=""))}


async def _state(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"state": str(await place.jobs.look(str(args["job"])))}


async def _output(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    start, most = args.get("start"), min(int(args["most"]), _MOST_OUTPUT)
    begin, data, total = await place.jobs.output(str(args["job"]), start, most)
    return {"begin": begin, "bytes": b64encode(data).decode(), "total": total}


async def _stop(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    await place.jobs.stop(str(args["job"]), float(args["grace"]))
    return {}


async def _remove(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    await place.jobs.drop(str(args["job"]))
    return {}


async def _jobs(place: Place, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the daemon's jobs here, each with its state and its owner (a run)."""

    def look() -> list[dict[str, str]]:
        jobs = place.jobs
        return [{"job": job, "state": str(jobs.state(job)), "owner": runner.owner(jobs, job)} for job in jobs.list()]

    return {"jobs": await asyncio.to_thread(look)}


CALLS: Mapping[str, Callable[[Place, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]] = {
    "tool": _tool,
    "about": lambda place, args: about.about(place.root),
    "weigh": lambda place, args: about.weigh(args),
    "workspace": lambda place, args: copies.workspace(place.root, place.home, args),
    "skills": _skills,
    "locate": _locate,
    "facts": _facts,
    "usable": _usable,
    "start": _start,
    "state": _state,
    "output": _output,
    "stop": _stop,
    "remove": _remove,
    "jobs": _jobs,
}
STREAMS: Mapping[str, Callable[[Place, Mapping[str, Any], Show], Awaitable[Mapping[str, Any]]]] = {"follow": _follow}
