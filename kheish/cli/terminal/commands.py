"""The commands of a conversation that begin with `/`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kheish.cli.changes import show_changes
from kheish.cli.output import details, plain, shorten, table
from kheish.cli.terminal.activity import usage_line
from kheish.cli.terminal.stage import Stage
from kheish.errors import KheishError

if TYPE_CHECKING:
    from kheish.client import Kheish

MODES = ("default", "accept_edits", "plan", "dont_ask", "bypass")
ABOUT = {
    "help": "list the commands and keys",
    "status": "show the session and its work",
    "cost": "show the tokens and the cost of the session",
    "model": "show the route, or change it: /model ROUTE or ROUTE/MODEL",
    "mode": f"show the permission mode, or change it: {', '.join(MODES)}",
    "compact": "have the next run summarise the conversation first",
    "diff": "show the files that the session changed",
    "undo": "continue in a fork from before the last message",
    "skills": "list the skills; /NAME starts one",
    "inbox": "answer what waits for you in this session",
    "output": "show a folded result: /output NUMBER",
    "quit": "leave; the session can be resumed",
}
_KEYS = """Enter sends; Alt-Enter, or a backslash before Enter, starts another line. A paste is one message.
During a run: Enter sends a message for the next turn, Esc or Ctrl-C stops the run, a second Ctrl-C leaves.
Up and Down: earlier messages, also of earlier chats. Ctrl-R searches them. Tab completes. Ctrl-O shows folded output.
A message that begins with a blank is not a command, and is not kept in the history."""
_COMMAND = re.compile(r"/([a-z][a-z0-9_-]*)(?:\s+(.*))?", re.DOTALL)
_ONLY_IDLE = frozenset({"undo"})


class Commands:
    """The commands of one conversation. `session_id` and `chosen` (the choices for the next runs) change with them."""

    def __init__(self, client: Kheish, *, is_chat: bool) -> None:
        self.session_id = ""
        self.is_chat = is_chat
        self.quits = False
        self.asks = False
        self._client = client
        self._stage: Stage | None = None
        self._skills: dict[str, str] | None = None

    def join(self, stage: Stage) -> None:
        """Print on this stage."""
        self._stage = stage

    def completions(self) -> Iterator[tuple[str, str]]:
        """Yield the names with their descriptions."""
        yield from ABOUT.items()
        yield from (self._skills or {}).items()

    async def is_command(self, text: str) -> bool:
        """Return whether a message is a command; the name of a skill starts it, and belongs to the message."""
        match = _COMMAND.fullmatch(text)
        return match is not None and match[1] not in (() if match[1] in ABOUT else await self.skills())

    async def skills(self) -> dict[str, str]:
        """Return the skills that users may start, with their descriptions."""
        if self._skills is None:
            page = await asyncio.to_thread(self._client.skills.list, session=self.session_id or None, limit=200)
            self._skills = {
                one["name"]: shorten(one.get("description") or "", 60)
                for one in page["items"]
                if one.get("user_invocable") and one.get("shadowed_by") is None
            }
        return self._skills

    async def run(self, text: str, *, is_busy: bool = False) -> None:
        """Run a command."""
        match = _COMMAND.fullmatch(text)
        assert match is not None and self._stage is not None
        name, argument = match[1], (match[2] or "").strip()
        if name not in ABOUT:
            near = get_close_matches(name, ABOUT, n=1)
            hint = f"Did you mean /{near[0]}?" if near else "/help lists the commands."
            return self._stage.show(f"Unknown command /{name}. {hint} A blank before it makes it a message.", fg="red")
        if is_busy and name in _ONLY_IDLE:
            return self._stage.show(f"/{name} needs an idle session; Esc stops the run.", fg="yellow")
        actions: dict[str, Callable[[Stage, str], Awaitable[None]]] = {
            "help": self._help, "status": self._status, "cost": self._cost, "model": self._model, "mode": self._mode,
            "compact": self._compact, "diff": self._diff, "undo": self._undo, "skills": self._list_skills,
            "inbox": self._inbox, "output": self._output, "quit": self._quit,
        }  # fmt: skip
        try:
            await actions[name](self._stage, argument)
        except KheishError as error:
            self._stage.report(error)

    async def _help(self, stage: Stage, _: str) -> None:
        width = max(len(name) for name in ABOUT) + 3
        for name, about in ABOUT.items():
            stage.show(f"{'/' + name:<{width}}{about}")
        stage.show(_KEYS, dim=True)

    async def _status(self, stage: Stage, _: str) -> None:
        session: Any = await asyncio.to_thread(self._client.sessions.get, self.session_id)
        names = ("session_id", "status", "title", "workspace", "route", "permission_mode", "active_run_id",
                 "queued_runs", "forked_from", "project")  # fmt: skip
        details({name: session.get(name) for name in names})

    async def _cost(self, stage: Stage, _: str) -> None:
        page = await asyncio.to_thread(self._client.usage, session=self.session_id, by=["session"])
        rows = page["items"]
        stage.show(usage_line(rows[0]) if rows else "No usage yet.")

    async def _model(self, stage: Stage, wanted: str) -> None:
        if wanted:
            session = await asyncio.to_thread(self._client.sessions.patch, self.session_id, route=wanted)
            return stage.show(f"The next runs use the route {session['route']}.")
        session = await asyncio.to_thread(self._client.sessions.get, self.session_id)
        routes = await asyncio.to_thread(self._client.definitions("routes").list, limit=200)
        stage.show(f"Route: {session['route'] or 'the default'}. Change it with /model ROUTE or ROUTE/MODEL.")
        rows = [{"id": one["id"], **_value(one)} for one in routes["items"]]
        return table(rows, [("ROUTE", "id"), ("DRIVER", "driver"), ("MODEL", "model")])

    async def _mode(self, stage: Stage, wanted: str) -> None:
        if wanted and wanted not in MODES:
            return stage.show(f"There is no permission mode {wanted!r}: {', '.join(MODES)}.", fg="red")
        change = {"permission_mode": wanted} if wanted else None
        if change:
            session = await asyncio.to_thread(self._client.sessions.patch, self.session_id, **change)  # type: ignore[arg-type]  # one known field
        else:
            session = await asyncio.to_thread(self._client.sessions.get, self.session_id)
        return stage.show(f"Permission mode: {session['permission_mode']}.")

    async def _compact(self, stage: Stage, _: str) -> None:
        await asyncio.to_thread(self._client.sessions.compact, self.session_id)
        stage.show("The next run summarises the conversation first.")

    async def _diff(self, stage: Stage, _: str) -> None:
        page = await asyncio.to_thread(self._client.sessions.changes, self.session_id)
        show_changes(page["items"])

    async def _undo(self, stage: Stage, _: str) -> None:
        runs = await asyncio.to_thread(self._client.runs.list, session=self.session_id, limit=1)
        if not runs["items"]:
            return stage.show("There is no message to undo.")
        last = runs["items"][0]["run_id"]
        lines = await asyncio.to_thread(self._client.sessions.journal, self.session_id, run=last, limit=1)
        before = lines["items"][0]["seq"] - 1
        made = await asyncio.to_thread(self._client.sessions.fork, self.session_id, at=f"seq:{before}")
        self.session_id = made["session_id"]
        return stage.show(
            f"Session {self.session_id} continues from before the last message. "
            f"Files are unchanged: /diff in {made['forked_from']['session_id']} shows them."  # type: ignore[index]  # it is a fork
        )

    async def _list_skills(self, stage: Stage, _: str) -> None:
        self._skills = None
        for name, about in (await self.skills()).items():
            stage.show(f"/{name}  {about}")
        if not self._skills:
            stage.show("No skills; `kheish skills add NAME FILE` adds one.")

    async def _inbox(self, stage: Stage, _: str) -> None:
        self.asks = True

    async def _output(self, stage: Stage, number: str) -> None:
        if (number and not number.isascii()) or (number and not number.isdigit()):
            return stage.show("Give the number of a folded result: /output 3", fg="red")
        return stage.unfold(int(number) if number else None)

    async def _quit(self, stage: Stage, _: str) -> None:
        self.quits = True


def _value(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the driver and model of a route."""
    value = definition.get("value") or definition
    return {"driver": plain(value.get("driver")), "model": plain(value.get("model") or "")}
