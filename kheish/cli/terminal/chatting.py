"""Conversations with an agent, and followed runs and Flows, on a terminal that shows a line editor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kheish.cli.followed import Followed, FollowedRun, detach, show_end
from kheish.cli.terminal.attending import Attending, Ending
from kheish.cli.terminal.commands import Commands
from kheish.cli.terminal.keys import Act
from kheish.cli.terminal.stage import Stage
from kheish.errors import KheishError

if TYPE_CHECKING:
    from kheish.client import Kheish


def follow(client: Kheish, followed: Followed, after: int = 0) -> int:
    """Follow a thing to its end and return the exit code. Raise WaitsForPerson, and the errors of the client."""
    return asyncio.run(_follow(client, followed, after))


def chat(client: Kheish, session: str, chosen: dict[str, Any]) -> int:
    """Talk with the agent of a session; return the exit code."""
    return asyncio.run(Chat(client, session, chosen).run())


async def _follow(client: Kheish, followed: Followed, after: int) -> int:
    commands = Commands(client, is_chat=False)
    stage = Stage(commands.completions)
    commands.join(stage)
    commands.session_id = str(followed.data.get("session_id") or "")
    with stage.editor.keyboard():
        ending = await Attending(stage, client, lambda: followed, commands).run(after)
    if ending.is_left:
        return detach(followed)
    if ending.error is not None:
        raise ending.error
    show_end(stage.transcript, followed)
    if ending.draft:
        stage.show(f"Not sent: {ending.draft}", fg="yellow")
    return followed.exit_code


class Chat:
    """A conversation with the agent of a session: one run per message."""

    def __init__(self, client: Kheish, session: str, chosen: dict[str, Any]) -> None:
        self._client = client
        self._chosen = chosen
        self._commands = Commands(client, is_chat=True)
        self._commands.session_id = session
        self._stage = Stage(self._commands.completions)
        self._commands.join(self._stage)

    async def run(self) -> int:
        """Talk until the user leaves."""
        with self._stage.editor.keyboard():
            return await self._talk()

    async def _talk(self) -> int:
        session = self._commands.session_id
        self._stage.show(
            f"Session {session}; an empty line exits, and `kheish chat {session}` resumes it. /help lists commands.",
            dim=True,
        )
        active = (await asyncio.to_thread(self._client.sessions.get, session))["active_run_id"]
        ending = await self._attend_run(active) if active else Ending(None, "")
        while not ending.is_left and not self._commands.quits:
            typed = await self._stage.editor.read(ending.draft)
            ending = Ending(None, "" if typed.act is Act.SUBMIT else typed.text)
            match typed.act:
                case Act.SUBMIT if typed.text.strip():
                    try:
                        ending = await self._submit(typed.text)
                    except KheishError as error:  # keep the text: the next line begins with it
                        self._stage.report(error)
                        ending = Ending(None, typed.text)
                case Act.EXPAND:
                    self._stage.unfold()
                case Act.SUBMIT | Act.LEAVE | Act.BREAK:
                    break
        if ending.draft:
            self._stage.show(f"Not sent: {ending.draft}", fg="yellow")
        return 0

    async def _submit(self, text: str) -> Ending:
        message = text.strip()
        self._stage.echo(message)
        if not text.startswith(" ") and await self._commands.is_command(message):
            await self._commands.run(message)
            if self._commands.asks:
                self._commands.asks = False
                return await self._attend_active()
            return Ending(None, "")
        session, chosen = self._commands.session_id, self._chosen
        return await self._attend(
            Attending(
                self._stage,
                self._client,
                lambda: FollowedRun(self._client.runs.start(session, message, **chosen)),
                self._commands,
                message,
            )
        )

    async def _attend_active(self) -> Ending:
        session = await asyncio.to_thread(self._client.sessions.get, self._commands.session_id)
        if session["active_run_id"] is None:
            self._stage.show("Nothing waits for you in this session.")
            return Ending(None, "")
        return await self._attend_run(session["active_run_id"])

    async def _attend_run(self, run_id: str) -> Ending:
        return await self._attend(
            Attending(self._stage, self._client, lambda: FollowedRun(self._client.runs.get(run_id)), self._commands)
        )

    async def _attend(self, attending: Attending) -> Ending:
        """Follow a run, and the runs that messages got which came too late for it."""
        ending = await attending.run()
        if ending.error is not None:
            self._stage.report(ending.error)
        if ending.followed is None:
            return ending
        if ending.is_left:
            detach(ending.followed)
            return ending
        show_end(self._stage.transcript, ending.followed)
        later = await attending.run_after()
        if later is None:
            return ending
        further = await self._attend_run(later)
        return Ending(further.followed, further.draft or ending.draft, further.is_left, further.error)
