"""The opening of a connection: its credentials are lent for as long as it is open, its process is started."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kheish.auth.broker import Broker, Lease
from kheish.domain.mcp.server import AUDIENCE, FromSlot, McpServer
from kheish.domain.sessions.session import Session
from kheish.errors import KheishError
from kheish.runtime.mcp import processes
from kheish.runtime.mcp.errors import ErrorLog
from kheish.runtime.mcp.logins import Logins
from kheish.runtime.mcp.memory import Memory
from kheish.runtime.mcp.outcomes import NotConnected
from kheish.runtime.mcp.wire import Wire
from kheish.runtime.tools.shell import SandboxSettings
from kheish.state.state import State


class Reports(Protocol):
    """The problems that are reported, and cleared again; `authoring.problems.Problems` is one, a layer above."""

    def add(self, code: str, path: str, message: str, *, severity: Any = "error") -> None: ...

    def clear(self, code: str, path: str | None = None) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The services of the daemon that the servers need. `folder` is for the working folders and logs of processes;
    `sandbox` returns how commands are confined now."""

    state: State
    broker: Broker
    reports: Reports
    memory: Memory
    folder: Path
    sandbox: Callable[[], SandboxSettings]
    environ: Mapping[str, str]
    logins: Logins


class Opening:
    """The transports of all servers."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    @asynccontextmanager
    async def open(
        self, id: str, server: McpServer, session_id: str | None, wire: Wire
    ) -> AsyncIterator[tuple[Any, Any]]:
        """Open the transport of a server, with its credentials lent for as long as it is open. Raises NotConnected."""
        async with contextlib.AsyncExitStack() as stack:
            leases = [
                await stack.enter_async_context(self._lease(id, slot, session_id))
                for slot in self._around.logins.slots(id, server)
            ]
            watching = [asyncio.ensure_future(_watch(lease, wire)) for lease in leases]
            stack.callback(lambda: [task.cancel() for task in watching])
            secrets = {lease.slot: lease.value for lease in leases}
            if server.url is not None:
                streams = await stack.enter_async_context(self._open_url(id, server, secrets, wire))
            else:
                streams = await stack.enter_async_context(self._open_process(id, server, session_id, secrets, wire))
            yield streams

    @asynccontextmanager
    async def _lease(self, id: str, slot: str, session_id: str | None) -> AsyncIterator[Lease]:
        subjects = ("daemon",) if session_id is None else (f"session:{session_id}", "daemon")
        try:
            async with self._around.broker.lease(subjects, slot, f"{AUDIENCE}{id}", scope=()) as lease:
                yield lease
        except KheishError as error:
            raise NotConnected(error.detail) from error

    @asynccontextmanager
    async def _open_url(
        self, id: str, server: McpServer, secrets: Mapping[str, str], wire: Wire
    ) -> AsyncIterator[tuple[Any, Any]]:
        from kheish.runtime.mcp import http

        assert server.url is not None
        headers = {
            name: secrets[value.slot] if isinstance(value, FromSlot) else value
            for name, value in server.headers.items()
        }
        auth = None
        if server.auth is not None and server.auth.bearer is not None:
            headers["Authorization"] = f"Bearer {secrets[server.auth.bearer]}"
        elif server.auth is not None:
            auth = await self._around.logins.auth(id, server)
        allow = self._around.state.definitions.config.network.allow
        opened = http.connect(
            server.url,
            wire,
            server.max_message,
            headers=headers,
            auth=auth,
            allow=allow,
            advice=f"; kheish mcp login {id} asks for it" if auth is not None else "",
        )
        async with opened as streams:
            yield streams

    @asynccontextmanager
    async def _open_process(
        self, id: str, server: McpServer, session_id: str | None, secrets: Mapping[str, str], wire: Wire
    ) -> AsyncIterator[tuple[Any, Any]]:
        from kheish.runtime.mcp import stdio

        workspace = None
        if session_id is not None:
            async with self._around.state.using(session_id):
                workspace = Path(self._around.state.get(Session, session_id).settings["workspace"])
        errors = ErrorLog(self.log_of(id, session_id), lambda: self._around.state.scrub)
        spec = await asyncio.to_thread(self._spec, id, server, workspace, secrets, errors)
        try:
            async with stdio.connect(spec, wire, server.max_message) as streams:
                yield streams
        finally:
            await asyncio.shield(errors.close())

    def _spec(
        self, id: str, server: McpServer, workspace: Path | None, secrets: Mapping[str, str], errors: ErrorLog
    ) -> Any:
        """Return the process of a server. Blocks on disk. Raises NotConnected."""
        folder = workspace
        if folder is None:
            folder = self._around.folder / id
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        errors.prepare()
        return processes.spec_of(
            server,
            folder=folder,
            errors=errors.add,
            secrets=secrets,
            settings=self._around.sandbox(),
            environ=self._around.environ,
        )

    def log_of(self, id: str, session_id: str | None = None) -> Path:
        """Return the folder with the standard error of a server's newest process."""
        name = id if session_id is None else f"{id}@{session_id}"
        return self._around.state.root / ".kheish" / "mcp" / f"{name}.log"


async def explain(server: McpServer, wire: Wire) -> str | None:
    """Return a better reason for a refused beginning: a server may speak the old transport only."""
    if server.url is None or wire.status not in (400, 404, 405):
        return None
    from kheish.runtime.mcp import http

    return http.OLD_TRANSPORT if await http.is_old(server.url) else None


async def _watch(lease: Lease, wire: Wire) -> None:
    """End the connection when a credential of it is revoked."""
    await lease.ended.wait()
    wire.fail(f"the credential {lease.slot} was revoked")
