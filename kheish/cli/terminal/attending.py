"""A followed run or Flow on the terminal: events are printed above the line that the user edits.

Enter steers the run, Esc and the first Ctrl-C interrupt it, and the second leaves. Pending decisions are asked in
place, when the user has stopped typing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kheish.cli.followed import Followed, WaitsForPerson
from kheish.cli.terminal.activity import Activity
from kheish.cli.terminal.commands import Commands
from kheish.cli.terminal.decisions import Decisions, Postponed
from kheish.cli.terminal.keys import Act, Left, Typed
from kheish.cli.terminal.stage import Stage
from kheish.client.sse import Event
from kheish.errors import KheishError

if TYPE_CHECKING:
    from kheish.client import Kheish

_BATCH = 256
#: kinds of events after which a decision is not pending
_DECIDED = frozenset({"approval.resolved", "question.answered"})
#: seconds until a message that came too late for its run has another
_RUN_SECONDS = 5.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of following: the followed thing as last read, and the line that was not sent."""

    followed: Followed | None
    draft: str
    is_left: bool = False
    error: KheishError | None = None


class Attending:
    """One followed thing, from the call that starts it to its end, or until the user leaves."""

    def __init__(
        self, stage: Stage, client: Kheish, start: Callable[[], Followed], commands: Commands, text: str = ""
    ) -> None:
        self._stage = stage
        self._client = client
        self._start = start
        self._commands = commands
        self._text = text  # of the message that starts it
        self._draft = ""
        self._started: asyncio.Future[Followed] = asyncio.get_running_loop().create_future()
        self._decisions = Decisions(stage, client)
        self._activity = Activity()
        self._is_called = self._is_left = False
        self._calling: asyncio.Task[None] | None = None
        self._sent: list[tuple[str, str]] = []  # the recipient and the id of each message

    async def run(self, after: int = 0) -> Ending:
        """Follow it. Raise WaitsForPerson if no prompt can help."""
        stage = self._stage
        stage.transcript, stage.activity = stage.new_transcript(), self._activity
        reading = asyncio.create_task(self._read_events(after))
        reading.add_done_callback(lambda _: stage.editor.wake())
        try:
            with stage.editor.busy():
                while not reading.done() and not self._is_left:
                    typed = await stage.editor.read(self._draft)
                    self._draft = "" if typed.act is Act.SUBMIT else typed.text
                    await self._act(typed)
                    if self._is_called and not reading.done():
                        await self._decide()
        finally:
            stage.activity = None
            for task in (reading, self._calling):
                if task is not None and not task.done():
                    task.cancel()
        stage.editor.show(stage.transcript.fresh_line())
        return await self._ending(reading)

    async def run_after(self) -> str | None:
        """Return the run that a message got because it came too late for this one; None if there is none."""
        until = time.monotonic() + _RUN_SECONDS
        followed = self._started.result()
        for agent, message_id in self._sent:
            while True:
                message = await asyncio.to_thread(self._client.mailbox.get, agent, message_id)
                if message["state"] != "pending" or time.monotonic() > until:
                    break
                await asyncio.sleep(_LOOK_SECONDS)
            if message["run_id"] not in (None, followed.id):
                return message["run_id"]
        return None

    async def _ending(self, reading: asyncio.Task[None]) -> Ending:
        followed = self._started.result() if self._started.done() else None
        error = reading.exception() if reading.done() and not reading.cancelled() else None
        if isinstance(error, KheishError):
            draft = self._draft if followed is not None else "\n".join(filter(None, (self._text, self._draft)))
            return Ending(followed, draft, self._is_left, error)
        if error is not None:
            raise error
        return Ending(followed, self._draft, self._is_left)

    async def _read_events(self, after: int) -> None:
        followed = await asyncio.to_thread(self._start)
        self._started.set_result(followed)
        self._stage.show(followed.heading, dim=True)
        async for event in _events(followed, after):
            self._stage.editor.show(self._stage.transcript.feed(event))
            self._activity.feed(event)
            decided = event.data.get("approval_id") or event.data.get("question_id")
            if event.kind in _DECIDED and decided == self._decisions.asked:
                self._stage.editor.wake()
            if event.kind in followed.stops:
                self._call_user()

    def _call_user(self) -> None:
        """Ask the user to decide what is pending, after a pause in typing."""
        if self._calling is None or self._calling.done():
            self._calling = asyncio.create_task(self._call_when_quiet())

    async def _call_when_quiet(self) -> None:
        followed = await self._started
        try:
            await asyncio.to_thread(followed.refresh)
        except KheishError as error:
            self._stage.report(error)
        if followed.is_waiting and self._decisions.asked is None:
            self._activity.note = "a decision is needed; it is asked when you stop typing"
            await self._stage.editor.quiet()
            self._is_called = True
            self._stage.editor.wake()

    async def _act(self, typed: Typed) -> None:
        match typed.act:
            case Act.SUBMIT if typed.text.strip():
                await self._submit(typed.text.strip())
            case Act.INTERRUPT:
                await self._interrupt()
            case Act.BREAK if not self._activity.is_stopping:
                await self._interrupt()
            case Act.BREAK | Act.LEAVE:
                self._is_left = True
            case Act.EXPAND:
                self._stage.unfold()

    async def _submit(self, text: str) -> None:
        """Send a message for the next turn, or run a command."""
        self._stage.echo(text)
        try:
            if await self._commands.is_command(text):
                await self._run_command(text)
                return
            followed = await self._started
            run = await asyncio.to_thread(followed.asking_run)
            if run is None:
                self._stage.show("(not sent: no run continues with it)", fg="yellow")
                self._draft = text
                return
            posted = await asyncio.to_thread(self._client.runs.steer, run.run_id, text)
        except KheishError as error:
            self._stage.report(error)
            self._draft = text
            return
        self._sent.append((posted["session_id"], posted["message_id"]))
        self._stage.show("(sent for the next turn)", dim=True)

    async def _run_command(self, text: str) -> None:
        await self._commands.run(text, is_busy=True)
        self._is_left = self._commands.quits
        if self._commands.asks:
            self._commands.asks = False
            self._call_user()

    async def _interrupt(self) -> None:
        is_repeated, self._activity.is_stopping = self._activity.is_stopping, True
        try:
            followed = await self._started
            message = await asyncio.to_thread(followed.interrupt, self._client, is_repeated=is_repeated)
        except KheishError as error:
            self._stage.report(error)
            self._activity.is_stopping = is_repeated
        else:
            self._stage.show(f"({message})", dim=True)

    async def _decide(self) -> None:
        """Ask for what is pending now, not at an earlier event. Raise WaitsForPerson."""
        self._is_called, self._activity.note = False, ""
        followed = self._started.result()
        try:
            await asyncio.to_thread(followed.refresh)
            if not followed.is_waiting:
                return
            run = await asyncio.to_thread(followed.asking_run)
            if run is None:
                raise followed.waits()
            self._stage.editor.show(self._stage.transcript.fresh_line())
            await self._decisions.attend(run, self._stage.transcript)
        except Postponed:
            self._postpone(followed)
        except Left as left:
            if left.act is Act.WAKE:
                self._call_user()
            elif left.act is Act.LEAVE or self._activity.is_stopping:
                self._is_left = True
            else:
                await self._interrupt()
        except WaitsForPerson:
            raise
        except KheishError as error:
            self._stage.report(error)

    def _postpone(self, followed: Followed) -> None:
        if self._commands.is_chat:
            self._stage.show("(later: /inbox asks again)", dim=True)
            self._activity.note = "waits for your decision: /inbox"
        else:
            self._is_left = True


async def _events(followed: Followed, after: int) -> AsyncIterator[Event]:
    """Yield the events of a followed thing, which a thread reads."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Event | KheishError | None] = asyncio.Queue(_BATCH)

    def put(item: Event | KheishError | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()

    def read() -> None:
        end: KheishError | None = None
        with contextlib.suppress(RuntimeError, CancelledError):  # the loop has ended: the user left
            try:
                for event in followed.events(after):
                    put(event)
            except KheishError as error:
                end = error
            finally:
                put(end)

    threading.Thread(target=read, name="events", daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, KheishError):
            raise item
        yield item
