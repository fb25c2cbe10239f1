"""Calls of a server's tools by agents: with a lent credential, within their time, and with the user's input.

A modern server that asks for input ends the call: the run waits, and the answers repeat the call, also after a restart.
A server of an earlier version asks while the call is open, so that a restart leaves it ambiguous. A task of the server
is journaled by its id, and found again after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from kheish import ids
from kheish.auth import broker as lending
from kheish.auth.broker import Broker
from kheish.domain import events, runs, turns
from kheish.domain.events import Spilled
from kheish.domain.mcp import elicitation
from kheish.domain.mcp.elicitation import Asked, Unsupported
from kheish.domain.mcp.server import AUDIENCE, McpServer
from kheish.domain.runs import Run, Status
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Call
from kheish.errors import KheishError
from kheish.runtime import model
from kheish.runtime.debug.capture import Capture, Recorder
from kheish.runtime.mcp import recording, results
from kheish.runtime.mcp.answers import Answers
from kheish.runtime.mcp.connection import CANCEL, OpenCall
from kheish.runtime.mcp.found import Calling
from kheish.runtime.mcp.logins import Logins
from kheish.runtime.mcp.outcomes import Broken, Done, NeedsInput, NotConnected, Outcome, RemoteTask, ServerError
from kheish.runtime.mcp.servers import Servers
from kheish.runtime.tools.base import Context, Result, Suspended, ToolError
from kheish.state.state import State

T = TypeVar("T")
ELICIT = "elicitation/create"
#: answers to a question that do not fit, after which it is cancelled; rounds of input in one call
_ATTEMPTS, _ROUNDS = 3, 20
#: seconds between looks at a task whose server is away, and their number
_AWAY, _AWAY_ROUNDS = 5.0, 60
_SHOW_EVERY = 0.1  # seconds between lines of progress
_MAYBE = "whether the call was executed is not known"


@dataclass(slots=True, kw_only=True)
class Calls:
    """The calls of all servers. `answers` has the users' answers as they are journaled."""

    state: State
    broker: Broker
    servers: Servers
    answers: Answers
    logins: Logins
    debug: Capture | None = None

    def of(self, server_id: str) -> Calling:
        """Return the functions of a server's tools."""

        def run(own_name: str) -> Any:
            return self.transcribed(lambda arguments, context: self._run(server_id, own_name, arguments, context))

        def recover(own_name: str) -> Any:
            return self.transcribed(lambda _, context: self._recover(server_id, own_name, context), "recovered")

        def resume(own_name: str) -> Any:
            return lambda _, context: self._resume(server_id, own_name, context)

        return Calling(run=run, recover=recover, resume=resume)

    def transcribed(self, run: Callable[[Any, Context], Awaitable[T]], *part: str) -> Callable[..., Awaitable[T]]:
        """Return a tool's function that captures its messages with servers where the run is captured."""

        def wrapped(arguments: Any, context: Context) -> Awaitable[T]:
            recorder = self._recorder(context)
            return recording.transcribed(recorder, (*self._name(context), *part), run(arguments, context))

        return wrapped

    def _recorder(self, context: Context) -> Recorder | None:
        return self.debug.of_id(context.run_id) if self.debug is not None else None

    def _name(self, context: Context) -> tuple[str, ...]:
        """Return the name of a call's artifacts; after a user's answer, with the question: each round has its own."""
        given = self._call(context).input if context.note.get("input_responses") else None
        return (context.call_id, given.question_id) if given is not None else (context.call_id,)

    # --- a call -------------------------------------------------------------------------------------------------------

    async def _run(
        self, server_id: str, own_name: str, arguments: Mapping[str, Any], context: Context
    ) -> Result | Suspended:
        note = context.note
        if task_id := note.get("task_id"):
            return await self._after_task(server_id, own_name, str(task_id), context, note.get("input_responses"))
        outcome = await recording.send(
            self._recorder(context),
            self._name(context),
            {"server": server_id, "tool": own_name, "arguments": arguments},
            self.send,
            server_id,
            context,
            lambda sdk, session, progress: sdk.call_tool(
                session,
                own_name,
                arguments,
                progress,
                responses=note.get("input_responses"),
                state=note.get("request_state"),
            ),
        )
        return await self._handle(server_id, own_name, outcome, context)

    async def _handle(self, server_id: str, own_name: str, outcome: Outcome, context: Context) -> Result | Suspended:
        match outcome:
            case Done(result=result):
                return results.of(result, {"server": server_id, "tool": own_name})
            case NeedsInput(requests=requests, state=state):
                return self._suspend(server_id, requests, context, state=state)
            case RemoteTask(task_id=task_id):
                started = events.RemoteTaskStarted(call_id=context.call_id, server=server_id, task_id=task_id)
                self.state.append(started.on(context.session_id, context.run_id))
                await self.state.durable()
                return await self._after_task(server_id, own_name, task_id, context, None)

    async def send(self, server_id: str, context: Context, send: Callable[[Any, Any, Any], Awaitable[T]]) -> T:
        """Send a request for an agent. Raises ToolError with what is known of the outcome."""
        definition = self.servers.definitions.get(server_id)
        if definition is None:
            raise ToolError(f"The MCP server {server_id} is not there any more. Nothing was done.")
        server: McpServer = definition.value
        try:
            async with self._credentials(server_id, server, context) as use:
                return await use(self._timed(server_id, server, context, send))
        except NotConnected as error:
            raise ToolError(f"The MCP server {server_id} is not available: {error}. Nothing was done.") from error
        except Broken as error:
            raise ToolError(f"The connection to the MCP server {server_id} broke: {error}; {_MAYBE}.") from error
        except ServerError as error:
            raise ToolError(f"The MCP server {server_id} answered with an error: {error.message}") from error
        except TimeoutError as error:
            text = f"The MCP server {server_id} did not answer within {server.timeout:g} s; {_MAYBE}."
            raise ToolError(text) from error
        except KheishError as error:
            raise ToolError(error.detail) from error

    async def _timed(
        self, server_id: str, server: McpServer, context: Context, send: Callable[[Any, Any, Any], Awaitable[T]]
    ) -> T:
        """Send a request within the server's time, which progress restarts, and which stands still while a user is
        asked. Raises TimeoutError, and as Connection.request."""
        connection = await self.servers.connection(server_id, context.session_id)
        loop, shown = asyncio.get_running_loop(), 0.0
        async with asyncio.timeout(None) as clock:

            async def progress(done: float, total: float | None, message: str | None) -> None:
                nonlocal shown
                clock.reschedule(loop.time() + server.timeout)
                if loop.time() - shown >= _SHOW_EVERY:
                    shown = loop.time()
                    context.output(_progress(done, total, message))

            async def ask(params: Mapping[str, Any]) -> Mapping[str, Any]:
                clock.reschedule(None)
                try:
                    return await self._ask(server_id, params, context, calling)
                finally:
                    clock.reschedule(loop.time() + server.timeout)

            calling = asyncio.current_task()
            await connection.ready()
            clock.reschedule(loop.time() + server.timeout)
            call = OpenCall(session_id=context.session_id, ask=ask)
            return await connection.request(lambda sdk, session: send(sdk, session, progress), call=call)

    @contextlib.asynccontextmanager
    async def _credentials(
        self, server_id: str, server: McpServer, context: Context
    ) -> AsyncIterator[Callable[[Awaitable[T]], Awaitable[T]]]:
        """Lend the agent the server's credentials for a call. Yields a function that runs it, and ends it with a
        revocation. Raises OutOfScope, CredentialRevoked, NotFound, SecretUnreadable."""
        run = self.state.get(Run, context.run_id)
        subjects = (f"session:{run.session_id}", f"agent:{run.agent_id}")
        scope = model.credential_scope(self.state, run)

        async with contextlib.AsyncExitStack() as stack:
            leases = [
                await stack.enter_async_context(
                    self.broker.lease(subjects, slot, f"{AUDIENCE}{server_id}", scope=scope)
                )
                for slot in self.logins.slots(server_id, server)
            ]

            async def use(work: Awaitable[T]) -> T:
                for lease in leases:
                    work = lending.using(lease, work)
                return await work

            yield use

    # --- input before the answer (modern) -----------------------------------------------------------------------------

    def _suspend(
        self,
        server_id: str,
        requests: Mapping[str, Mapping[str, Any]],
        context: Context,
        *,
        state: str | None = None,
        task_id: str | None = None,
        fault: str | None = None,
    ) -> Result | Suspended:
        """Return the wait for a user's answers to what a server asks; its state is journaled with it."""
        refused = sorted({str(one.get("method")) for one in requests.values()} - {ELICIT})
        if refused or not requests:
            what = ", ".join(refused) or "nothing"
            text = f"The MCP server {server_id} asks for {what}, which this client does not offer; the call ends."
            return Result(content=text, is_error=True)
        asked = elicitation.asked(requests)
        try:
            items = [item for one in asked for item in elicitation.items(server_id, one, fault)]
        except Unsupported as error:
            text = f"The MCP server {server_id} asks the user for something that cannot be shown: {error}."
            return Result(content=text, is_error=True)
        question_id = ids.new("q")
        required = events.InputRequired(
            call_id=context.call_id,
            question_id=question_id,
            server=server_id,
            requests={key: dict(one) for key, one in requests.items()},
            state=state,
            task_id=task_id,
        )
        question = events.QuestionAsked(
            question_id=question_id, call_id=context.call_id, questions=tuple(items), purpose=events.ELICITATION
        )
        drafts = tuple(one.on(context.session_id, context.run_id) for one in (required, question))
        return Suspended(drafts=drafts, waiting=Status.WAITING_FOR_QUESTION)

    async def _resume(self, server_id: str, own_name: str, context: Context) -> Mapping[str, Any] | Result | Suspended:
        """Return what repeats the call: the user's answers and the server's state; or the question again."""
        call = self._call(context)
        given, answer = call.input, call.answer
        assert given is not None and answer is not None
        path = self.state.get(Session, context.session_id).path
        requests: Any = given.requests
        if isinstance(requests, Spilled):
            requests = orjson.loads(await self.state.payloads.text(path, requests))
        state = given.state
        if isinstance(state, Spilled):
            state = await self.state.payloads.text(path, state)
        try:
            responses = elicitation.responses(elicitation.asked(requests), answer)
        except ValueError as error:
            return self._suspend(server_id, requests, context, state=state, task_id=given.task_id, fault=str(error))
        note: dict[str, Any] = {"input_responses": responses}
        return (
            note
            | ({"request_state": state} if state is not None else {})
            | ({"task_id": given.task_id} if given.task_id is not None else {})
        )

    def _call(self, context: Context) -> Call:
        turn = turns.of(self.state, context.run_id)
        return next(call for call in turn.calls if call.id == context.call_id)

    # --- input during the call (earlier versions) ---------------------------------------------------------------------

    async def _ask(
        self, server_id: str, params: Mapping[str, Any], context: Context, calling: asyncio.Task[Any] | None
    ) -> Mapping[str, Any]:
        """Ask the user while the call is open, and return the answer in the server's form."""
        fault: str | None = None
        for _ in range(_ATTEMPTS):
            asked = Asked(at=0, key="", params=params)
            try:
                items = elicitation.items(server_id, asked, fault)
            except Unsupported:
                return CANCEL
            answer = await self._answered(items, context)
            run = self.state.find(Run, context.run_id)
            if run is None or run.is_final:
                if calling is not None:
                    calling.cancel()
                return CANCEL
            try:
                return elicitation.responses([asked], answer)[""]
            except ValueError as error:
                fault = str(error)
        return CANCEL

    async def _answered(self, items: Sequence[events.QuestionItem], context: Context) -> events.QuestionAnswered:
        """Journal a question and wait for its answer; the run waits meanwhile, and its call stays open."""
        state, question_id = self.state, ids.new("q")
        question = events.QuestionAsked(
            question_id=question_id, call_id=context.call_id, questions=tuple(items), purpose=events.ELICITATION
        )
        drafts = [question.on(context.session_id, context.run_id)]
        if state.get(Run, context.run_id).status is Status.RUNNING:
            waiting = events.RunWaiting(status=Status.WAITING_FOR_QUESTION)
            drafts.append(runs.step(state, context.run_id, waiting))
        with self.answers.expected(question_id) as expected:
            state.append(*drafts)
            answer = await expected
        run = state.find(Run, context.run_id)
        claimed = runs.next_claim(state, context.session_id)
        if run is not None and run.status is Status.QUEUED and claimed is not None and claimed.run_id == run.run_id:
            state.append(runs.step(state, run.run_id, events.RunResumed(reason="answered")))
        return answer

    # --- tasks of the server ------------------------------------------------------------------------------------------

    async def _recover(self, server_id: str, own_name: str, context: Context) -> Result | Suspended | None:
        """Find the task of a call again; None if it has none, so that its outcome is unknown."""
        task_id = self._call(context).remote_task
        if task_id is None:
            return None
        return await self._after_task(server_id, own_name, task_id, context, None)

    async def _after_task(
        self,
        server_id: str,
        own_name: str,
        task_id: str,
        context: Context,
        responses: Mapping[str, Any] | None,
    ) -> Result | Suspended:
        """Follow a task of the server to its end, or to what it asks of the user."""
        if responses is not None:
            await self.send(server_id, context, lambda sdk, session, _: sdk.answer_task(session, task_id, responses))
        try:
            return await self._follow(server_id, own_name, task_id, context)
        except asyncio.CancelledError:
            run = self.state.find(Run, context.run_id)
            if run is None or run.is_final or run.stop_requested:
                self._cancel(server_id, task_id, context)
            raise

    def _cancel(self, server_id: str, task_id: str, context: Context) -> None:
        """Ask the server to cancel the task of a run that was stopped; that it fails changes nothing."""

        async def cancel() -> None:
            with contextlib.suppress(NotConnected, Broken, ServerError, TimeoutError):
                async with asyncio.timeout(_AWAY):
                    connection = await self.servers.connection(server_id, context.session_id)
                    await connection.request(lambda sdk, session: sdk.cancel_task(session, task_id))

        self.servers.spawn(cancel())

    async def _follow(self, server_id: str, own_name: str, task_id: str, context: Context) -> Result | Suspended:
        away = 0
        while True:
            try:
                task: RemoteTask = await self.send(
                    server_id, context, lambda sdk, session, _: sdk.task(session, task_id)
                )
                away = 0
            except ToolError:
                away += 1
                if away > _AWAY_ROUNDS or self.servers.definitions.get(server_id) is None:
                    raise
                await asyncio.sleep(_AWAY)
                continue
            match task.status:
                case "completed":
                    return results.of(task.result or {}, {"server": server_id, "tool": own_name, "task": task_id})
                case "failed" | "cancelled":
                    why = task.error or task.message or "no reason is given"
                    text = f"The task {task_id} of the MCP server {server_id} has {task.status}: {why}"
                    return Result(content=text.replace("has cancelled", "was cancelled"), is_error=True)
                case "input_required" if task.requests:
                    return self._suspend(server_id, task.requests, context, task_id=task_id)
            if task.message:
                context.output(f"{task.message}\n")
            await asyncio.sleep(task.poll)


def _progress(done: float, total: float | None, message: str | None) -> str:
    share = f"{done:g}" if total is None else f"{done:g} of {total:g}"
    return f"{share}{f': {message[:500]}' if message else ''}\n"
