"""The MCP servers of a daemon: their connections, started when a run needs them, and the tools that they give to runs.

A daemon without MCP servers does nothing here. `tools` is called for each turn, and costs a look-up as long as nothing
has changed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

from kheish.domain import trusts
from kheish.domain.definitions import Definition
from kheish.domain.events import Scope
from kheish.domain.mcp import server as mcp
from kheish.domain.mcp.server import McpServer
from kheish.domain.permissions import policy
from kheish.domain.runs import Run
from kheish.runtime.mcp import found as building, opening, tools
from kheish.runtime.mcp.connection import Connection, Listed, State
from kheish.runtime.mcp.found import Calling, Found, Known
from kheish.runtime.mcp.opening import Opening, Surroundings
from kheish.runtime.mcp.outcomes import NotConnected
from kheish.runtime.mcp.wire import FAILED, TOO_LARGE
from kheish.runtime.tools.base import Tool

log = logging.getLogger(__name__)

#: seconds without a request after which a connection is closed
IDLE = 900.0
KIND = "mcp"
UNTRUSTED, BANNER, LEFT_OUT = "mcp_untrusted", "mcp_banner", "mcp_tool_left_out"
Key = tuple[str, str | None]


class Servers:
    """The servers that the Definitions in force name."""

    def __init__(self, around: Surroundings, builtin: Mapping[str, Tool], common: Mapping[str, Tool]) -> None:
        """Create it without connections. `builtin` are the tools of every run; `common` those that runs have beside
        them if there is a server."""
        self._around = around
        self.opening = Opening(around)
        self._state = around.state
        self.builtin: Mapping[str, Tool] = builtin
        self.with_common: Mapping[str, Tool] = {**builtin, **common}
        self._connections: dict[Key, Connection] = {}
        self._known: dict[Key, Known] = {}
        self._version = 0
        self._merged: dict[str | None, tuple[int, Mapping[str, Tool]]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._trusted: dict[str, str] = {}  # by id: the digest of a content that is trusted
        self.calling: Callable[[str], Calling] | None = None

    # --- tools of runs ------------------------------------------------------------------------------------------------

    @property
    def definitions(self) -> Mapping[str, Definition]:
        """The servers' Definitions, by id."""
        return self._state.definitions.by_kind[KIND]

    def tools(self, run: Run | None) -> Mapping[str, Tool]:
        """Return the tools of a run (or of any), with those of its servers as far as they are known."""
        if not self.definitions:
            return self.builtin
        session = run.session_id if run is not None else None
        version, merged = self._merged.get(session, (-1, {}))
        if version != self._version:
            there = [known for _, known in self._known_to(session)]
            merged = {name: tool for name, tool in self.with_common.items() if _is_of_use(name, there)}
            for known in there:
                merged |= {name: tool for name, tool in known.tools.items() if name not in self.with_common}
            if len(self._merged) > 1000:
                self._merged.clear()
            self._merged[session] = self._version, merged
        return merged

    def _known_to(self, session_id: str | None) -> Iterator[tuple[str, Known]]:
        """Yield the servers that are known, as a session sees them."""
        for id, definition in self.definitions.items():
            known = self._known.get(self._key(id, definition.value, session_id))
            if known is not None and known.digest == definition.digest and not definition.value.disabled:
                yield id, known

    def known_to(self, run: Run) -> list[tuple[str, Known]]:
        """Return the servers that are known and that the run's scopes may leave."""
        left = {id for id, _ in self.needed(run.settings.capability_scope, run.settings.tool_policies)}
        return [(id, known) for id, known in self._known_to(run.session_id) if id in left]

    def found(self, id: str) -> tuple[Found, ...]:
        """Return the tools that a server lists, as known from any of its connections."""
        definition = self.definitions.get(id)
        known = (one for key, one in self._known.items() if key[0] == id)
        return next((one.found for one in known if definition is not None and one.digest == definition.digest), ())

    def needed(self, *scopes: Sequence[Scope]) -> list[tuple[str, Definition]]:
        """Return the servers of which the scopes may leave a tool."""
        listed = [one for some in scopes for one in some]
        return [
            (id, one) for id, one in self.definitions.items() if not one.value.disabled and policy.may_leave(listed, id)
        ]

    def _key(self, id: str, server: McpServer, session_id: str | None) -> Key:
        return id, session_id if server.per == "session" else None

    async def ready(self, run: Run) -> None:
        """Start the servers that a run needs, and wait for those that start, each within its start_timeout."""
        if not self.definitions:
            return
        waits = []
        for id, definition in self.needed(run.settings.capability_scope, run.settings.tool_policies):
            connection = await self._connection(id, definition, run.session_id)
            if connection is None:
                continue
            is_new = connection.failures == 0
            connection.start()
            if connection.state is State.STARTING and is_new:
                waits.append(connection.started())
        if waits:
            await asyncio.gather(*waits)

    def notices(self, run: Run) -> list[str]:
        """Return a line for each server that a run may use and that is not there."""
        lines = []
        for id, definition in self.needed(run.settings.capability_scope, run.settings.tool_policies):
            connection = self._connections.get(self._key(id, definition.value, run.session_id))
            if connection is not None and connection.state is State.STARTING:
                lines.append(f"The MCP server {id} is still starting; its tools come with a later turn.")
            elif connection is None or connection.state is not State.READY:
                why = connection.error if connection is not None else "it waits for `kheish trust`"
                lines.append(f"The MCP server {id} is not available{f': {why}' if why else ''}.")
        return lines

    # --- connections --------------------------------------------------------------------------------------------------

    async def connection(self, id: str, session_id: str | None) -> Connection:
        """Return the connection to a server for a session. Raises NotConnected."""
        definition = self.definitions.get(id)
        if definition is None or definition.value.disabled:
            raise NotConnected("it is switched off" if definition is not None else "there is no such server")
        if definition.value.per == "session" and session_id is None:
            raise NotConnected("it has a connection for each session (per: session); call it in a session")
        connection = await self._connection(id, definition, session_id)
        if connection is None:
            raise NotConnected(f"it starts a command that no admin has allowed yet: kheish trust mcp/{id}")
        return connection

    async def _is_trusted(self, definition: Definition) -> bool:
        """Return whether the server starts no command, or one that an admin has allowed."""
        if not definition.value.commands or self._trusted.get(definition.id) == definition.digest:
            return True
        is_trusted = await trusts.is_trusted(self._state, _name_of(definition), definition.digest)
        if is_trusted:
            self._trusted[definition.id] = definition.digest
        return is_trusted

    async def _connection(self, id: str, definition: Definition, session_id: str | None) -> Connection | None:
        """Return the connection; None if its command is not trusted."""
        key = self._key(id, definition.value, session_id)
        if not await self._is_trusted(definition):
            text = f"The server is not started before its command is allowed: kheish trust mcp/{id}"
            self._around.reports.add(UNTRUSTED, definition.path, text, severity="warning")
            return None
        self._around.reports.clear(UNTRUSTED, definition.path)
        existing = self._connections.get(key)
        if existing is not None:
            return existing
        remembered = await asyncio.to_thread(self._around.memory.read, id, mcp.digest(definition.value))
        again = self._connections.get(key)
        if again is not None or self.definitions.get(id) is not definition:
            return again
        connection = Connection(
            server_id=id,
            server=definition.value,
            open=lambda wire: self.opening.open(id, definition.value, session_id, wire),
            remembered=remembered.era,
            listed=lambda one, lists: self._listed(key, definition, one, lists),
            changed=lambda one: self._changed(definition, one),
            banner=lambda text: self._banner(definition, text),
            explain=lambda wire: opening.explain(definition.value, wire),
        )
        self._connections[key] = connection
        return connection

    # --- what connections report --------------------------------------------------------------------------------------

    async def _listed(self, key: Key, definition: Definition, connection: Connection, lists: Listed) -> None:
        """Take the lists of a server: the tools that are usable, and problems for the others."""
        id, server = key[0], definition.value
        assert self.calling is not None
        accepted = await self._accepted(id, definition, lists) if server.trust_annotations else {}
        facts = f"{lists.has_resources} {lists.has_prompts} {len(lists.left_out)} {lists.instructions}"
        mark = building.mark_of(lists.tools, {**accepted, "": facts})
        known = self._known.get(key)
        if known is not None and (known.digest, known.mark) == (definition.digest, mark):
            return
        found = await building.build(id, server, lists.tools, lists.left_out, self.calling(id), accepted)
        if self._connections.get(key) is not connection:
            return  # its file, its trust or its session changed meanwhile: the next connection reads the lists
        self._known[key] = Known(
            digest=definition.digest,
            mark=mark,
            found=found,
            instructions=lists.instructions,
            has_resources=lists.has_resources,
            has_prompts=lists.has_prompts,
            tools={one.name: one.tool for one in found if one.tool is not None},
        )
        self._version += 1
        bad = [one for one in found if one.problem is not None and "not selected" not in one.problem]
        if bad:
            listed = "; ".join(f"{one.own_name}: {one.problem}" for one in bad[:5])
            more = f" (and {len(bad) - 5} more)" if len(bad) > 5 else ""
            self._around.reports.add(LEFT_OUT, definition.path, f"{listed}{more}", severity="warning")
        else:
            self._around.reports.clear(LEFT_OUT, definition.path)
        if connection.remembered is not None:
            await asyncio.to_thread(self._around.memory.write_era, id, mcp.digest(server), connection.remembered)

    async def _accepted(self, id: str, definition: Definition, lists: Listed) -> Mapping[str, str]:
        """Return the digests of the tools' definitions when their annotations were accepted: at the first list after
        the file changed, or after `kheish trust`."""
        now = {str(raw["name"]): building.digest_of(raw) for raw in lists.tools}
        trusted = await trusts.find(self._state, _name_of(definition))
        mark = f"{definition.digest}/{trusted.n if trusted is not None else 0}"
        return await asyncio.to_thread(self._around.memory.accept, id, mark, now)

    def _changed(self, definition: Definition, connection: Connection) -> None:
        self._version += 1
        reports, path = self._around.reports, definition.path
        if connection.state is State.STARTING:
            reports.clear(BANNER, path)
        elif connection.state is State.READY:
            for code in (FAILED, TOO_LARGE):
                reports.clear(code, path)
        elif connection.state is State.FAILING:
            text = (connection.error or "").encode()  # it may quote what the server wrote
            connection.error = self._state.scrub(text).decode("utf-8", "replace")
            log.warning("the MCP server %s failed: %s", definition.id, connection.error)
            reports.add(connection.code, path, f"The server failed: {connection.error}", severity="warning")

    def _banner(self, definition: Definition, text: str) -> None:
        message = (
            f"The server writes lines to its standard output that are no messages, such as {text!r}; they are skipped."
        )
        self._around.reports.add(BANNER, definition.path, message, severity="warning")

    # --- changes ------------------------------------------------------------------------------------------------------

    def definition_changed(self, id: str) -> None:
        """Close the connections of a server whose file or trust was changed; the next use opens others, which decide
        again whether annotations count."""
        definition = self.definitions.get(id)
        self._version += 1
        for key in [key for key in self._connections if key[0] == id]:
            self._retire(key)
        for key in [key for key in self._known if key[0] == id]:
            if definition is None or self._known[key].digest != definition.digest:
                del self._known[key]
        if definition is None:
            for code in (FAILED, TOO_LARGE, BANNER, LEFT_OUT, UNTRUSTED):
                self._around.reports.clear(code, f"mcp/{id}.yaml")

    def session_ended(self, session_id: str) -> None:
        """Close the connections of a session."""
        for key in [key for key in self._connections if key[1] == session_id]:
            self._retire(key)
            self._known.pop(key, None)
        self._merged.pop(session_id, None)

    def close_idle(self) -> None:
        """Close connections that had no request for a while."""
        now = time.monotonic()
        for key, connection in list(self._connections.items()):
            if connection.state is State.READY and not connection.is_busy and now - connection.used_at > IDLE:
                self._retire(key)

    def _retire(self, key: Key) -> None:
        self.spawn(self._connections.pop(key).close())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work in the background, which `close` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections, and wait for the ends of their processes."""
        for key in list(self._connections):
            self._retire(key)
        await asyncio.gather(*self._closing, return_exceptions=True)

    # --- views --------------------------------------------------------------------------------------------------------

    async def view(self, definition: Definition) -> dict[str, Any]:
        """Return the state of a server as the API shows it."""
        connections = [one for key, one in self._connections.items() if key[0] == definition.id]
        known = [one for key, one in self._known.items() if key[0] == definition.id and one.digest == definition.digest]
        shown = max(connections, key=lambda one: (one.state is State.READY, one.used_at), default=None)
        state, error = (shown.state.value, shown.error) if shown is not None else ("idle", None)
        if definition.value.disabled:
            state = "disabled"
        elif not await self._is_trusted(definition):
            state, error = "untrusted", f"its command is not allowed yet: kheish trust mcp/{definition.id}"
        negotiated = shown.negotiated if shown is not None else None
        return {
            "state": state,
            "negotiated": None
            if negotiated is None
            else {"version": negotiated.version, "era": negotiated.era, "server": negotiated.server},
            "tools": [one.view() for one in known[0].found] if known else [],
            "select": list(definition.value.tools),
            "last_error": error,
        }

    def health(self) -> dict[str, Any]:
        """Return the servers by state, for the daemon's status."""
        states = {id: "idle" for id, one in self.definitions.items() if not one.value.disabled}
        for (id, _), connection in self._connections.items():
            if id in states and states[id] != "ready":
                states[id] = connection.state.value
        failing = [
            {"id": id, "error": one.error}
            for (id, _), one in self._connections.items()
            if one.state is State.FAILING and states.get(id) == "failing"
        ]
        count = {state: sum(one == state for one in states.values()) for state in ("idle", "starting", "ready")}
        return {"servers": len(states), **count, "failing": failing}


def _name_of(definition: Definition) -> str:
    """Return the name of a server in the ledger of trust."""
    return f"{KIND}/{definition.id}"


def _is_of_use(name: str, known: Sequence[Known]) -> bool:
    """Return whether a tool about resources or prompts has any; other tools always are of use."""
    match name:
        case tools.LIST:
            return any(one.has_resources or one.has_prompts for one in known)
        case tools.READ:
            return any(one.has_resources for one in known)
        case tools.PROMPT:
            return any(one.has_prompts for one in known)
    return True
