"""The hooks of runs: chosen when a run begins, run at its points, and put together into one entry."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kheish.domain import events
from kheish.domain.agents.agent import Agent as AgentRecord
from kheish.domain.definitions import Definition
from kheish.domain.events import ChosenHook, HookOutcome, HooksRan
from kheish.domain.hooks import matching, progress, wire
from kheish.domain.hooks.answer import Answer
from kheish.domain.hooks.combining import Combined
from kheish.domain.hooks.definition import HookFile
from kheish.domain.hooks.moments import MOMENTS
from kheish.domain.runs import Run
from kheish.runtime.agent import Agent
from kheish.runtime.hooks import binding, trial
from kheish.runtime.hooks.asked import Asked, HookFailed
from kheish.runtime.hooks.invoking import Invoker
from kheish.runtime.hooks.matchers import fits
from kheish.runtime.hooks.transcript import Transcripts
from kheish.runtime.tools.base import ToolError
from kheish.state import encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """The call that an event is about; `parse` checks arguments by the schema of its tool. Raises ToolError."""

    call_id: str
    tool: str
    ruled: str
    effect: str
    arguments: Mapping[str, Any]
    parse: Callable[[dict[str, Any]], Awaitable[Any]]


@dataclass(slots=True)
class _Rewriting:
    """The arguments that a hook gives a call, in our spelling and valid; `before` are those of earlier hooks."""

    combined: Combined
    file: HookFile
    called: Called | None
    before: Mapping[str, Any] | None
    workspace: str
    arguments: dict[str, Any] | None = None

    async def accept(self, answer: Answer) -> None:
        """Take the arguments of an answer. Raises HookFailed for invalid ones."""
        self.arguments = None
        given = self.combined.takes_input(self.file, answer)
        if given is None or self.called is None:
            return
        old = self.called.arguments if self.before is None else self.before
        found = wire.arguments(self.called.tool, given, old, self.workspace)
        try:
            await self.called.parse(found)
        except ToolError as error:
            raise HookFailed(f"its updatedInput cannot be used: {str(error)[:500]}") from error
        self.arguments = found if found != dict(old) else None


class Hooks:
    """The hooks of all runs."""

    def __init__(self, agent: Agent, environ: Mapping[str, str] = os.environ) -> None:
        self._agent = agent
        self._state = agent.state
        self.invoker = Invoker(agent, environ)
        self.transcripts = Transcripts(agent.state)

    async def test(
        self, found: Definition, event: str | None, given: Mapping[str, Any], *, session_id: str | None, cwd: str
    ) -> dict[str, Any]:
        """Run a hook once, for a caller of the API. Raises Invalid, Conflict, NotFound."""
        about = (self._state, self.invoker, self.transcripts, found, event, given)
        return await trial.run(*about, session_id=session_id, cwd=cwd)

    async def choose(self, run: Run) -> bool:
        """Choose the hooks of a run that begins; return whether it has any."""
        known = self._state.definitions.by_kind["hooks"]
        found = [
            one for _, one in sorted(known.items())
            if not one.value.disabled and any(MOMENTS[name].in_run for name in one.value.events)
        ]  # fmt: skip
        hooks = [await self._chosen(one) for one in found]
        if hooks:
            self._state.append(events.HooksChosen(hooks=tuple(hooks)).on(run.session_id, run.run_id))
        return bool(hooks)

    async def _chosen(self, one: Definition) -> ChosenHook:
        judged = await binding.judge(self._state, one)
        return ChosenHook(
            id=one.id,
            digest=one.digest,
            file=one.value.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            untrusted=judged.reason,
            files=dict(judged.files),
        )

    def agent_of(self, run: Run) -> AgentRecord | None:
        """Return the agent of a run if another agent has spawned it."""
        found = self._state.find(AgentRecord, run.agent_id)
        return found if found is not None and found.parent is not None else None

    def is_ahead(self, run: Run, moment: str, point: str) -> bool:
        """Return whether the run has hooks for an event that did not pass this point yet."""
        return progress.is_ahead(self._state, run.run_id, moment, point)

    async def at(
        self,
        run: Run,
        moment: str,
        point: str,
        fields: Mapping[str, Any],
        *,
        subjects: Sequence[str] = (),
        called: Called | None = None,
    ) -> HooksRan | None:
        """Run the hooks of an event, and return the entry to append; None if none of them concerns it."""
        own = progress.of(self._state, run.run_id)
        hooks = [one for one in (own.hooks if own is not None else ()) if moment in progress.moments_of(one)]
        hooks = [one for one in hooks if await fits(progress.file_of(one).matcher, subjects)]
        combined = Combined(moment)
        arguments = await self._run(run, point, hooks, fields, called, combined) if hooks else None
        if not combined.outcomes:
            return None
        return HooksRan(
            event=moment,
            point=point,
            outcomes=tuple(combined.outcomes),
            call_id=called.call_id if called is not None else None,
            decision=combined.decision,
            decided_by=combined.decided_by,
            reason=combined.reason,
            arguments=arguments,
            has_secret=arguments is not None and encoding.holds_secret(arguments, self._state.scrub),
            output=combined.output,
            context=combined.context,
            stop_reason=combined.stop_reason,
            retry=combined.retry,
            usage=combined.usage,
            model_calls=combined.model_calls,
        )

    async def _run(
        self,
        run: Run,
        point: str,
        hooks: Sequence[ChosenHook],
        fields: Mapping[str, Any],
        called: Called | None,
        combined: Combined,
    ) -> dict[str, Any] | None:
        """Run hooks one after another, each with what the earlier ones have made of the arguments, which are returned
        if they differ. Conditions are about these, too."""
        arguments: dict[str, Any] | None = None
        document: Mapping[str, Any] | None = None
        for chosen in hooks:
            file = progress.file_of(chosen)
            if (combined.is_over and not file.observe) or not await self._concerns(file, called, arguments, run):
                continue
            invocation_id = invocation(run.run_id, point, chosen.id)
            if (why := chosen.untrusted or await binding.changed(chosen.id, file, chosen.files)) is not None:
                outcome = HookOutcome(
                    hook=chosen.id, invocation_id=invocation_id, result="untrusted", reason=why, observed=file.observe
                )
                combined.take(chosen.id, file, outcome, None)
                continue
            document = document or await self._document(run, combined.moment, fields)
            asked = Asked(
                id=chosen.id,
                file=file,
                digest=chosen.digest,
                moment=combined.moment,
                invocation_id=invocation_id,
                document=document,
                session_id=run.session_id,
                cwd=run.settings.workspace,
                run=run,
            )
            rewriting = _Rewriting(combined, file, called, arguments, run.settings.workspace)
            self._agent.interruptible.add(run.run_id)
            try:
                invoked = await self.invoker.invoke(asked, accept=rewriting.accept)
            finally:
                self._agent.interruptible.discard(run.run_id)
            combined.spend(invoked.usage)
            rewritten = rewriting.arguments if invoked.answer is not None else None
            if rewritten is not None and called is not None:
                arguments = rewritten
                shown = wire.tool_input(called.tool, rewritten, run.settings.workspace)
                document = {**document, "tool_input": shown}
            combined.take(chosen.id, file, invoked.outcome, invoked.answer)
        return arguments

    async def _concerns(
        self, file: HookFile, called: Called | None, arguments: Mapping[str, Any] | None, run: Run
    ) -> bool:
        condition = matching.condition_of(file)
        if condition is None or called is None:
            return True
        given = called.arguments if arguments is None else arguments
        about = (called.tool, called.ruled, called.effect, dict(given), run.settings.workspace)
        return await asyncio.to_thread(matching.holds, condition, *about)

    async def _document(self, run: Run, moment: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        transcript = await self.transcripts.render(run.session_id, run.settings.workspace)
        agent = self.agent_of(run)
        route = self._state.definitions.routes.get(run.settings.route)
        return wire.document(
            moment,
            session_id=run.session_id,
            transcript_path=str(transcript),
            cwd=run.settings.workspace,
            permission_mode=run.mode,
            model=run.settings.model or (route.model if route is not None else None),
            agent_id=agent.agent_id if agent is not None else None,
            agent_type=(agent.agent or agent.name) if agent is not None else None,
            **fields,
        )


def invocation(key: str, point: str, hook: str) -> str:
    """Return the id of an invocation; a repetition after a restart has the same."""
    return f"hook_{hashlib.sha256(f'{key}/{point}/{hook}'.encode()).hexdigest()[:26]}"
