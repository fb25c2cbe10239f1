"""The agent that an editor talks to: a thin client of the daemon.

Ids of sessions are the daemon's. Work continues when the editor closes: nothing is cancelled but by the user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from acp import PROTOCOL_VERSION, helpers
from acp.exceptions import RequestError
from acp.schema import (
    AgentCapabilities,
    ForkSessionResponse,
    Implementation,
    InitializeResponse,
    ListSessionsResponse,
    LoadSessionResponse,
    McpCapabilities,
    NewSessionResponse,
    PromptCapabilities,
    PromptResponse,
    ResumeSessionResponse,
    SessionCapabilities,
    SessionForkCapabilities,
    SessionInfo,
    SessionListCapabilities,
    SessionResumeCapabilities,
    SetSessionConfigOptionResponse,
)

from kheish import ids, resources
from kheish.client import requests
from kheish.client.run import RUN_ENDS
from kheish.client.sse import Event
from kheish.errors import Forbidden, KheishError, NotFound
from kheish.protocols import access as accesses, lines
from kheish.protocols.access import Access
from kheish.protocols.acp import options, prompts, servers
from kheish.protocols.acp.asking import Asking
from kheish.protocols.acp.updates import Updates, call
from kheish.protocols.acp.wire import Wire

if TYPE_CHECKING:
    from acp.interfaces import Client

#: sessions of one list, and pages that are read for the first session in the editor's folder
_LISTED, _PAGES = 50, 20
#: forks of forks that are shown
_FORKS = 100
_STOPS: dict[str, Any] = {"run.completed": "end_turn", "run.cancelled": "cancelled", "run.interrupted": "cancelled"}


class Kheish:
    """The agent. `session` and `workspace` are those of the command line, which the first session gets."""

    def __init__(self, access: Access, wire: Wire, session: str | None = None, workspace: str | None = None) -> None:
        self._access = access
        self._wire = wire
        self._session = session
        self._workspace = workspace
        self._editor: Client
        self._asking: Asking
        self._runs: dict[str, str] = {}
        #: sessions whose run the editor's user stops: what it asked needs no answer
        self._stopping: set[str] = set()
        self._following: set[asyncio.Task[Any]] = set()

    def on_connect(self, conn: Client) -> None:
        """Take the connection to the editor."""
        self._editor = conn
        self._asking = Asking(self._access, conn, self._wire, shows_forms=False)

    async def initialize(self, protocol_version: int, client_capabilities: Any = None, **_: Any) -> InitializeResponse:
        """Return what this agent can do."""
        asked = client_capabilities.elicitation if client_capabilities is not None else None
        shows_forms = asked is not None and (asked.form is not None or asked.url is None)
        self._asking = Asking(self._access, self._editor, self._wire, shows_forms=shows_forms)
        return InitializeResponse(
            protocol_version=min(protocol_version, PROTOCOL_VERSION),
            agent_capabilities=AgentCapabilities(
                load_session=True,
                mcp_capabilities=McpCapabilities(http=await servers.may_ask(self._access)),
                prompt_capabilities=PromptCapabilities(embedded_context=True, image=False, audio=False),
                session_capabilities=SessionCapabilities(
                    list=SessionListCapabilities(), resume=SessionResumeCapabilities(), fork=SessionForkCapabilities()
                ),
            ),
            agent_info=Implementation(name="kheish", title="Kheish", version=resources.version()),
            auth_methods=[],
        )

    async def new_session(self, cwd: str, mcp_servers: Any = None, **_: Any) -> NewSessionResponse:
        """Create a session in the editor's folder, or return the one of the command line."""
        id, self._session = self._session, None
        session = await _sent(self._made(id, cwd))
        self._offer_servers(session["session_id"], mcp_servers)
        if session["workspace"] not in (cwd, self._workspace):
            self._say_later(session["session_id"], f"This session works in {session['workspace']}.\n\n")
        if session["active_run_id"] is not None:
            self._follow_later(session["session_id"], session["active_run_id"], Updates(), session["last_n"])
        return NewSessionResponse(
            session_id=session["session_id"],
            modes=options.modes(session),
            config_options=await options.routes(self._access, session),
        )

    async def _made(self, id: str | None, cwd: str) -> Any:
        if id is not None:
            try:
                return await self._access.send(requests.get_session(id))
            except NotFound:
                pass
        # A token with filters chooses no folder.
        is_limited = (await accesses.rights(self._access)).is_limited
        folder = self._workspace or (None if is_limited else cwd)
        return await self._access.send(requests.create_session(id, workspace=folder))

    async def load_session(self, cwd: str, session_id: str, mcp_servers: Any = None, **_: Any) -> LoadSessionResponse:
        """Show the journal of a session, and follow the run that works in it."""
        session: Any = await _sent(self._access.send(requests.get_session(session_id)))
        updates = Updates()
        newest = await _sent(self._replay(session, updates))
        self._offer_servers(session_id, mcp_servers)
        if session["active_run_id"] is not None:
            self._follow_later(session_id, session["active_run_id"], updates, newest)
        return LoadSessionResponse(
            modes=options.modes(session), config_options=await options.routes(self._access, session)
        )

    async def resume_session(self, session_id: str, cwd: str, **_: Any) -> ResumeSessionResponse:
        """Continue with a session whose journal the editor has."""
        session: Any = await _sent(self._access.send(requests.get_session(session_id)))
        if session["active_run_id"] is not None:
            self._follow_later(session_id, session["active_run_id"], Updates(), session["last_n"])
        return ResumeSessionResponse(
            modes=options.modes(session), config_options=await options.routes(self._access, session)
        )

    async def fork_session(self, session_id: str, cwd: str, **_: Any) -> ForkSessionResponse:
        """Fork a session now."""
        session: Any = await _sent(self._access.send(requests.fork_session(session_id)))
        return ForkSessionResponse(
            session_id=session["session_id"],
            modes=options.modes(session),
            config_options=await options.routes(self._access, session),
        )

    async def list_sessions(self, cwd: str | None = None, cursor: str | None = None, **_: Any) -> ListSessionsResponse:
        """List sessions, newest first; with `cwd`, those of a folder."""
        listed: list[SessionInfo] = []
        for _page in range(_PAGES):
            page = await _sent(self._access.send(requests.list_sessions(limit=_LISTED, cursor=cursor)))
            cursor = page["next_cursor"]
            listed += [_info(one) for one in page["items"] if cwd is None or one["workspace"] == cwd]
            if listed or cursor is None:
                break
        return ListSessionsResponse(sessions=listed, next_cursor=cursor)

    async def set_session_mode(self, session_id: str, mode_id: str, **_: Any) -> None:
        """Set the permission mode of a session; it applies to its next run."""
        change: Any = {"permission_mode": mode_id}
        await _sent(self._access.send(requests.change_session(session_id, **change)))

    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_: Any
    ) -> SetSessionConfigOptionResponse:
        """Set the route of a session."""
        if config_id != options.ROUTE:
            raise RequestError.invalid_params({"config_id": config_id})
        change: Any = {"route": None if value == options.DEFAULT else value}
        session = await _sent(self._access.send(requests.change_session(session_id, **change)))
        return SetSessionConfigOptionResponse(config_options=await options.routes(self._access, session))

    async def prompt(self, session_id: str, prompt: Any, **_: Any) -> PromptResponse:
        """Give the session a task, and follow its run to the end."""
        text, key = prompts.text(prompt), ids.new("acp")
        run = await _sent(
            accesses.repeat(
                self._access, lambda: requests.start_run(session_id, text, source="acp", idempotency_key=key)
            )
        )
        self._runs[session_id] = run["run_id"]
        self._stopping.discard(session_id)
        try:
            reason = await _sent(self._follow(session_id, run["run_id"], Updates(), 0))
        finally:
            self._runs.pop(session_id, None)
        return PromptResponse(stop_reason=reason)

    async def cancel(self, session_id: str, **_: Any) -> None:
        """Stop the run of the editor's last prompt."""
        if (run_id := self._runs.get(session_id)) is not None:
            self._stopping.add(session_id)
            await _sent(accesses.repeat(self._access, lambda: requests.cancel_run(run_id, "cancelled in the editor")))

    # --- following ----------------------------------------------------------------------------------------------------

    async def _replay(self, session: Any, updates: Updates) -> int:
        """Send the journal as updates, and return the number of its newest entry. A fork begins with the conversation
        that it continues, where the caller may see it."""
        id, newest = session["session_id"], 0
        for place, last in await self._lineage(session):
            async for event in lines.read(self._access, place):
                if last is not None and (event.n or 0) > last:
                    break
                newest = event.n or newest
                await self._show(id, updates.of(event, replays=True))
                await self._note(id, event, updates)
        return newest

    async def _lineage(self, session: Any) -> list[tuple[str, int | None]]:
        """Return the sessions whose entries a session has, oldest first, each with its last entry."""
        places: list[tuple[str, int | None]] = [(session["session_id"], None)]
        while (origin := session["forked_from"]) is not None and len(places) < _FORKS:
            try:
                session = await self._access.send(requests.get_session(origin["session_id"]))
            except (Forbidden, NotFound):
                break
            places.insert(0, (origin["session_id"], origin["n"]))
        return places

    def _follow_later(self, session_id: str, run_id: str, updates: Updates, after: int) -> None:
        self._runs[session_id] = run_id
        task = asyncio.ensure_future(_sent(self._follow(session_id, run_id, updates, after)))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, session_id: str, run_id: str, updates: Updates, after: int) -> Any:
        """Send the updates of a run to its end, and ask what it asks. Returns the reason of the stop."""
        await self._ask_all(session_id, run_id)
        async with aclosing(self._access.follow(requests.run_events(run_id), after=after)) as events:
            async for event in events:
                if event.run != run_id:
                    continue
                await self._show(session_id, updates.of(event))
                match event.kind:
                    case "run.waiting":
                        await self._ask_all(session_id, run_id)
                    case "approval.resolved":
                        await self._asking.withdraw(event.data["approval_id"])
                    case "question.answered":
                        await self._asking.withdraw(event.data["question_id"])
                await self._note(session_id, event, updates)
                if event.kind in RUN_ENDS:
                    return _STOPS.get(event.kind, "end_turn")
        return "end_turn"

    async def _note(self, session_id: str, event: Event, updates: Updates) -> None:
        """Remember the call of an approval, and show the rest of a text that was too long for its event."""
        if event.kind == "approval.requested":
            self._asking.calls[event.data["approval_id"]] = call(event, event.data["call_id"])
        elif event.kind in RUN_ENDS and event.run is not None and updates.is_unread(event.run):
            run = await accesses.repeat(self._access, lambda: requests.get_run(str(event.run)))
            await self._show(session_id, updates.finish(event.run, run["output"]))

    async def _ask_all(self, session_id: str, run_id: str) -> None:
        """Ask in the editor what the run waits for."""
        run = await accesses.repeat(self._access, lambda: requests.get_run(run_id))
        for id in (*run["pending_approvals"], *run["pending_questions"]):
            task = await self._asking.ask(session_id, id)
            if task is not None:
                task.add_done_callback(lambda done: self._asked(session_id, done))

    def _asked(self, session_id: str, done: asyncio.Task[str | None]) -> None:
        if done.cancelled() or done.exception() is not None or session_id in self._stopping:
            return
        if why := done.result():
            self._say_later(session_id, f"\n\n{why}\n\nIt can be answered by `kheish inbox`.\n\n")

    def _offer_servers(self, session_id: str, offered: Any) -> None:
        """Ask about the editor's MCP servers, or report that they are not used; the editor has the session then."""
        if offered:
            self._later(self._say_of_servers(session_id, offered))

    async def _say_of_servers(self, session_id: str, offered: Any) -> None:
        for text in await servers.offer(self._access, self._editor, session_id, offered):
            await self._show(session_id, [helpers.update_agent_message_text(f"{text}\n\n")])

    def _say_later(self, session_id: str, text: str) -> None:
        self._later(self._show(session_id, [helpers.update_agent_message_text(text)]))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _show(self, session_id: str, updates: list[Any]) -> None:
        for update in updates:
            await self._editor.session_update(session_id=session_id, update=update)


def _info(session: Any) -> SessionInfo:
    return SessionInfo(
        session_id=session["session_id"], cwd=session["workspace"], title=session["title"],
        updated_at=session["created_at"],
    )  # fmt: skip


async def _sent(answer: Any) -> Any:
    """Return an answer of the daemon. Raises RequestError for its errors."""
    try:
        return await answer
    except NotFound as error:
        raise RequestError(-32002, error.detail, {"code": error.code}) from error
    except KheishError as error:
        raise RequestError(-32000, error.detail, {"code": error.code}) from error
