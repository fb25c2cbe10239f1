"""Invoking a hook: journaled before and after, repeated on failure, with its credentials lent for each attempt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from kheish.domain import events
from kheish.domain.events import HookOutcome, Usage
from kheish.domain.events.hooks import HOOKS, HookResult
from kheish.domain.hooks.answer import Answer
from kheish.domain.hooks.definition import AUDIENCE
from kheish.errors import KheishError
from kheish.jobs.values import Limits
from kheish.runtime.agent import Agent
from kheish.runtime.debug.files import name_of
from kheish.runtime.hooks import command, http, questions
from kheish.runtime.hooks.asked import Asked, HookFailed, Replied
from kheish.state import pins

#: seconds before the second attempt; each further one waits twice as long, up to the longest
_WAIT, _LONGEST = 0.2, 10.0
Accept = Callable[[Answer], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoked:
    """A finished invocation. `answer` is None if it failed."""

    outcome: HookOutcome
    answer: Answer | None = None
    usage: Usage | None = None


class Invoker:
    """Runs hooks."""

    def __init__(self, agent: Agent, environ: Mapping[str, str] = os.environ) -> None:
        self._agent = agent
        self._state = agent.state
        self._environ = environ
        self.active: set[str] = set()  # invocations that run now

    async def invoke(self, asked: Asked, *, keep_input: bool = False, accept: Accept | None = None) -> Invoked:
        """Run a hook to its end. A failure is an outcome; `keep_input`: a restart repeats it from the journal.
        `accept` raises HookFailed for an answer that cannot be used."""
        self.active.add(asked.invocation_id)
        try:
            return await self._invoke(asked, keep_input=keep_input, accept=accept)
        finally:
            self.active.discard(asked.invocation_id)

    async def _invoke(self, asked: Asked, *, keep_input: bool, accept: Accept | None) -> Invoked:
        state, began = self._state, time.monotonic()
        async with pins.owner(state, HOOKS, asked.id):
            invoked = events.HookInvoked(
                hook=asked.id,
                invocation_id=asked.invocation_id,
                event=asked.moment,
                executor=asked.file.executor,
                digest=asked.digest,
                session_id=asked.session_id,
                run_id=asked.run.run_id if asked.run is not None else None,
                input=dict(asked.document) if keep_input else None,
            )
            state.append(invoked.on(by=f"hook:{asked.id}"))
            await state.durable()
            attempts = 0
            failure: HookFailed | None = None
            replied: Replied | None = None
            try:
                for attempts in range(1, asked.file.retries + 2):
                    try:
                        given = await self._attempt(asked)
                        if accept is not None:
                            await accept(given.answer)
                        replied = given
                        break
                    except HookFailed as error:
                        failure = error
                    if attempts <= asked.file.retries:
                        await asyncio.sleep(min(_WAIT * 2 ** (attempts - 1), _LONGEST))
            except asyncio.CancelledError:
                if not self._agent.stopping.is_set():  # else the next start repeats it
                    with contextlib.suppress(KheishError):
                        self._settle(asked, "cancelled", attempts, "its run was stopped", began)
                raise
            if replied is None:
                assert failure is not None
                outcome = self._settle(asked, "failed", attempts, str(failure), began, failure.exit_code)
                return Invoked(outcome=outcome)
            answer, usage = replied.answer, replied.usage
            refuses = answer.decision == "deny" or answer.stop_reason is not None
            result: HookResult = "blocked" if refuses else "ok"
            outcome = self._settle(asked, result, attempts, answer.reason, began, replied.exit_code)
            outcome = replace(outcome, system_message=answer.system_message)
            return Invoked(outcome=outcome, answer=answer, usage=usage)

    def _settle(
        self, asked: Asked, result: HookResult, attempts: int, reason: str | None, began: float, code: int | None = None
    ) -> HookOutcome:
        took = int((time.monotonic() - began) * 1000)
        settled = events.HookSettled(
            hook=asked.id,
            invocation_id=asked.invocation_id,
            result=result,
            attempts=attempts,
            reason=reason,
            exit_code=code,
            duration_ms=took,
            dead=result == "failed",
        )
        self._state.append(settled.on(by=f"hook:{asked.id}"))
        return HookOutcome(
            hook=asked.id, invocation_id=asked.invocation_id, result=result, reason=reason,
            observed=asked.file.observe, duration_ms=took,
        )  # fmt: skip

    async def _attempt(self, asked: Asked) -> Replied:
        """Run a hook once, within its time. Raises HookFailed."""
        limit = asked.file.limit(asked.moment)
        try:
            async with asyncio.timeout(limit), self._lent(asked) as secrets, self._captured(asked):
                return await self._execute(asked, secrets, limit)
        except TimeoutError as error:
            raise HookFailed(f"it took longer than {limit:g} s, and was ended") from error
        except KheishError as error:
            raise HookFailed(error.detail) from error

    def _captured(self, asked: Asked) -> AbstractAsyncContextManager[Any]:
        """Return a context that captures the input and the output, if the run is captured."""
        recorder = self._agent.debug.of(asked.run) if self._agent.debug is not None else None
        if recorder is None:
            return contextlib.nullcontext()
        return recorder.exchange(name_of("hook", asked.id, asked.invocation_id), "input", "output", asked.encoded)

    @asynccontextmanager
    async def _lent(self, asked: Asked) -> AsyncIterator[Mapping[str, str]]:
        """Yield the values of the hook's slots. Raises CredentialRevoked, NotFound, SecretUnreadable."""
        async with contextlib.AsyncExitStack() as stack:
            values = {}
            for slot in asked.file.slots:
                subjects, audience = (f"hook:{asked.id}",), f"{AUDIENCE}{asked.id}"
                lease = await stack.enter_async_context(self._agent.broker.lease(subjects, slot, audience, scope=()))
                values[slot] = lease.value
            yield values

    async def _execute(self, asked: Asked, secrets: Mapping[str, str], limit: float) -> Replied:
        config = self._state.definitions.config
        match asked.file.executor:
            case "command":
                limits = Limits(
                    processes=config.sandbox.processes,
                    memory=config.sandbox.memory,
                    file_size=config.sandbox.file_size,
                )
                return await command.run(asked, secrets=secrets, environ=self._environ, limits=limits)
            case "http":
                allow, now = config.network.allow, self._state.clock()
                return await http.run(asked, secrets=secrets, allow=allow, now=now, timeout=limit)
            case "prompt":
                return await questions.ask_model(asked, self._agent)
            case _:
                return await questions.call_tool(asked, self._agent)
