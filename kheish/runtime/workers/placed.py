"""The executor that runs the workspace tools of a session on its worker, and everything else here.

What crosses: the tool's name, its arguments, and of the context the workspace there, the ids, the note, the verdict's
targets, the skills in use, the sandbox's policy and its limits. No token, key or state does. A call of `bash` is
planned there, and its job is started and followed from here, as one on this machine is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from kheish.domain.permissions.rules import SHELL_TOOLS, Place, SandboxFacts, ToolCall
from kheish.errors import KheishError, WorkerLost, WorkerProtocolError, WorkerUnreachable
from kheish.runtime.binding import Facts
from kheish.runtime.drivers.base import Reply, Request
from kheish.runtime.executor import Executor
from kheish.runtime.locating import APART, Where
from kheish.runtime.tools import shell
from kheish.runtime.tools.base import Context, Replay, Result, Suspended, Tool, ToolError
from kheish.runtime.tools.shell import SandboxSettings
from kheish.runtime.workers import waiting
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.jobs import joined
from kheish.runtime.workers.mounting import Mounting
from kheish.runtime.workers.pool import Workers

#: tools that run on the worker as a whole; the shell's are planned there, and their jobs followed
FILES = frozenset({"read_file", "list_files", "glob_search", "grep_search", "write_file", "edit_file", "apply_patch"})
_MARGIN = 30.0  # seconds for the way, beyond a tool's own limit
_GONE = "The connection to the worker was lost during the call: it may or may not have been done."


class Placed:
    """An executor over another, which runs what needs no worker."""

    def __init__(self, local: Executor, workers: Workers, settings: Callable[[], SandboxSettings]) -> None:
        self._local = local
        self._workers = workers
        self._settings = settings
        self.mounting = Mounting(workers)

    async def complete(self, driver: str, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Run one model call here."""
        return await self._local.complete(driver, request, on_delta)

    async def window(self, request: Request) -> int | None:
        """Ask for the window here."""
        return await self._local.window(request)

    async def aclose(self) -> None:
        """Close the other executor. The connections to workers are closed apart."""
        await self._local.aclose()

    async def plan(self, tool: Tool, arguments: Any, context: Context) -> Mapping[str, Any]:
        """Plan a call where its workspace is."""
        link = self._link(tool, arguments, context)
        if link is None or tool.plan is None:
            return await self._local.plan(tool, arguments, context)
        async with waiting.noted(context.state, context.session_id, context.run_id, link):
            skills = await self._skills(link, tool, context)
            answer = await self._ask(link, "plan", tool, arguments, context, skills)
        note = _mapping(answer.get("note", {}))
        if tool.name not in SHELL_TOOLS:
            return note
        job = str(note.get("job"))
        if re.fullmatch(rf"{shell.job_id(context.key)}(-[0-9]{{1,6}})?", job) is None:
            raise WorkerProtocolError("The worker planned another job than this call's.")
        return shell.note_of(joined(job, link.worker), arguments, context, confined=note.get("confined") is True)

    async def call(self, tool: Tool, arguments: Any, context: Context) -> Result | Suspended:
        """Run a call where its workspace is. A file tool that was lost is asked for its outcome."""
        link = self._link(tool, arguments, context)
        if link is None:
            return await self._local.call(tool, arguments, context)
        async with waiting.noted(context.state, context.session_id, context.run_id, link):
            if tool.name in SHELL_TOOLS:
                return await tool.run(arguments, context)  # its jobs are reached by their ids
            if tool.replay is Replay.SAFE:
                return _result(await self._ask(link, "run", tool, arguments, context))
            try:
                return _result(await self._send(link, "run", tool, arguments, context))
            except WorkerLost:
                found = await self._recovered(link, tool, arguments, context)
                return found or Result(content=_GONE, is_error=True, detail={"gone": True})

    async def preview(self, tool: Tool, arguments: Any, context: Context) -> str | None:
        """Compute a diff where the workspace is."""
        link = self._link(tool, arguments, context)
        if link is None or tool.preview is None:
            return await self._local.preview(tool, arguments, context)
        async with waiting.noted(context.state, context.session_id, context.run_id, link):
            text = (await self._ask(link, "preview", tool, arguments, context)).get("text")
        return text if isinstance(text, str) else None

    async def recover(self, tool: Tool, arguments: Any, context: Context) -> Result | Suspended | None:
        """Decide a call's outcome where it was made."""
        link = self._link(tool, arguments, context)
        if link is None or tool.recover is None:
            return await self._local.recover(tool, arguments, context)
        async with waiting.noted(context.state, context.session_id, context.run_id, link):
            if tool.name in SHELL_TOOLS:
                return await tool.recover(arguments, context)
            return await self._recovered(link, tool, arguments, context)

    async def locate(self, where: Where, call: ToolCall) -> tuple[ToolCall, Mapping[str, str]]:
        """Resolve paths where the workspace is."""
        if where.worker is None or _is_apart(call.tool, call.arguments.get("path")):
            return await self._local.locate(where, call)
        link = self._workers.link(where.worker)
        args = {"tool": call.tool, "effect": call.effect, "arguments": dict(call.arguments)}
        async with waiting.noted(where.state, where.session_id, where.run_id, link):
            answer = await link.ask("locate", {"workspace": str(where.workspace), **args})
        try:
            places = {str(name): Place(**place) for name, place in answer["places"].items()}
            resolved = tuple(str(path) for path in answer["resolved"])
            moved = {str(path): str(place) for path, place in answer["moved"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WorkerProtocolError("The worker's answer about paths is not understood.") from error
        return replace(call, resolved=resolved, places=places), moved

    async def facts(self, where: Where, raw: Mapping[str, Any]) -> Facts:
        """Read the files that a command line names where the workspace is."""
        if where.worker is None:
            return await self._local.facts(where, raw)
        link = self._workers.link(where.worker)
        async with waiting.noted(where.state, where.session_id, where.run_id, link):
            answer = await link.ask("facts", {"workspace": str(where.workspace), "arguments": dict(raw)})
        try:
            return Facts(
                folder=f"{where.worker}:{where.workspace}",
                programs=tuple(str(one) for one in answer["programs"]),
                files=tuple(dict(one) for one in answer["files"]),
                unbound=tuple(str(one) for one in answer["unbound"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WorkerProtocolError("The worker's answer about files is not understood.") from error

    def sandbox(self, worker: str | None) -> SandboxFacts | None:
        """Return how the worker confines commands. One that was never reached confines none."""
        if worker is None:
            return None
        hello = self._workers.link(worker).health.hello
        available = hello is not None and hello.capabilities.get("sandbox") is True
        return SandboxFacts(mode=self._workers.terms(worker).sandbox, available=available)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _link(self, tool: Tool, arguments: Any, context: Context) -> Connection | None:
        """Return the connection for a call; None if it runs here."""
        if context.worker is None or not (tool.name in FILES or tool.name in SHELL_TOOLS):
            return None
        if _is_apart(tool.name, getattr(arguments, "path", None)):
            return None
        return self._workers.link(context.worker)

    async def _skills(self, link: Connection, tool: Tool, context: Context) -> Sequence[tuple[str, str]]:
        """Bring the skills in use to the worker, and return name and digest of each."""
        if tool.name not in SHELL_TOOLS:
            return ()
        try:
            return await self.mounting.bring(link, await shell.skills_in_use(context))
        except WorkerUnreachable:
            raise
        except KheishError as error:
            raise ToolError(f"The skills in use cannot be brought to {link.worker}: {error.detail}") from error

    async def _ask(
        self, link: Connection, phase: str, tool: Tool, arguments: Any, context: Context,
        skills: Sequence[tuple[str, str]] = (),
    ) -> Mapping[str, Any]:  # fmt: skip
        """Send a phase of a call that may be repeated."""
        while True:
            try:
                return await self._send(link, phase, tool, arguments, context, skills)
            except WorkerLost:
                continue

    async def _send(
        self, link: Connection, phase: str, tool: Tool, arguments: Any, context: Context,
        skills: Sequence[tuple[str, str]] = (),
    ) -> Mapping[str, Any]:  # fmt: skip
        settings = self._settings()
        args = {
            "phase": phase,
            "tool": tool.name,
            "arguments": arguments.model_dump(mode="json") if isinstance(arguments, BaseModel) else dict(arguments),
            "context": {
                "session_id": context.session_id,
                "run_id": context.run_id,
                "call_id": context.call_id,
                "agent_id": context.agent_id,
                "workspace": str(context.workspace),
                "key": context.key,
                "note": dict(context.note),
                "network": context.network,
                "judged": None if context.judged is None else dict(context.judged),
                "as_read": context.as_read,
                "skills": list(skills),
            },
            "settings": {
                "mode": self._workers.terms(link.worker).sandbox,
                "identity": list(settings.identity),
                "limits": {
                    "processes": settings.limits.processes,
                    "memory": settings.limits.memory,
                    "file_size": settings.limits.file_size,
                },
            },
        }
        try:
            return await link.call("tool", args, within=tool.timeout + _MARGIN)
        except TimeoutError:
            raise ToolError(f"The worker {link.worker} did not answer within {tool.timeout + _MARGIN:g} s.") from None
        except WorkerLost:
            raise
        except KheishError as error:
            raise ToolError(error.detail) from error

    async def _recovered(self, link: Connection, tool: Tool, arguments: Any, context: Context) -> Result | None:
        answer = await self._ask(link, "recover", tool, arguments, context)
        return _result(answer) if "content" in answer else None


def _is_apart(tool: str, path: Any) -> bool:
    """Return whether a path lies in no workspace: a skill's file or an asset, which the daemon has."""
    return tool == "read_file" and isinstance(path, str) and path.startswith(APART)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WorkerProtocolError("The worker's answer about a call is not understood.")
    return value


def _result(answer: Mapping[str, Any]) -> Result:
    """Return the result of a file tool. The keys that mean something to the loop are not the worker's to set."""
    content = answer.get("content")
    if not isinstance(content, str):
        raise WorkerProtocolError("The worker's answer about a call is not understood.")
    detail = {key: value for key, value in _mapping(answer.get("detail", {})).items() if key not in ("job", "gone")}
    return Result(content=content, is_error=answer.get("is_error") is True, detail=detail)
