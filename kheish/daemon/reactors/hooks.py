"""Hooks that no run waits for: they follow journal entries. What a kill has cut off is repeated, or settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events, questions
from kheish.domain.definitions import Definition
from kheish.domain.events import Entry
from kheish.domain.events.hooks import HOOKS
from kheish.domain.hooks import eliciting, late, progress, wire
from kheish.domain.hooks.invocation import HookInvocation
from kheish.domain.hooks.late import Late
from kheish.domain.mcp import names
from kheish.domain.questions import Question
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Turn
from kheish.errors import KheishError, StoreFailed
from kheish.runtime.agent import Agent
from kheish.runtime.hooks import binding
from kheish.runtime.hooks.asked import Asked
from kheish.runtime.hooks.invoking import Invoked
from kheish.runtime.hooks.matchers import fits
from kheish.runtime.hooks.service import invocation
from kheish.state import pins
from kheish.state.encoding import Recorded

if TYPE_CHECKING:
    from kheish.authoring.problems import Problems

log = logging.getLogger(__name__)

#: concurrent invocations, and those that may wait; more are left out, and reported
_AT_ONCE, _WAITING = 8, 1000
_PAGE = 200
UNTRUSTED, OVERDUE = "hook_untrusted", "hooks_overdue"


class Hooks(Reactor):
    """The reactor of hooks."""

    reacts_to = frozenset((events.DefinitionChanged, events.DefinitionTrusted, events.SessionDeleted, *late.KINDS))

    def __init__(self, agent: Agent, problems: Problems) -> None:
        assert agent.hooks is not None
        self._agent = agent
        self._state = agent.state
        self._hooks = agent.hooks
        self._problems = problems
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._asking: dict[str, str] = {}  # MCP servers by the question that they ask
        self._unseen = True  # whether the trust in hooks is to be checked

    async def prepare(self) -> None:
        """Remove the transcripts of an earlier daemon."""
        await asyncio.to_thread(self._hooks.transcripts.clear)

    async def start(self) -> None:
        """Repeat what a kill has cut off, and report the hooks that are not started."""
        await self._report()
        cursor: str | None = None
        await self._state.caught_up(timeout=60)
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, "hook_invocation", limit=_PAGE, cursor=cursor, statuses=("running",)
            )
            for doc in page.items:
                await self._recover(HookInvocation(**doc))
            cursor = page.next_cursor
            if cursor is None:
                break

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Run the hooks that follow from a durable batch."""
        known = self._state.definitions.by_kind["hooks"]
        for item in batch:
            match item.entry.event:
                case events.DefinitionChanged(definition="hooks"):
                    self._unseen = True
                case events.DefinitionTrusted(definition=name) if name.startswith(binding.FOLDER):
                    self._unseen = True
                case events.SessionDeleted(session_id=id) if known:
                    self._spawn(asyncio.to_thread(self._hooks.transcripts.forget, id))
            if known and type(item.entry.event) in late.KINDS:
                self._follow(item.entry, [found for _, found in sorted(known.items())])

    def _follow(self, entry: Entry, known: Sequence[Definition]) -> None:
        for one in late.of_entry(entry, self._server(entry)):
            hooks = [found for found in known if one.moment in found.value.events and not found.value.disabled]
            if hooks and len(self._running) >= _WAITING:
                text = f"More than {_WAITING} events wait for their hooks; this one was left out."
                self._problems.add(OVERDUE, hooks[0].path, text)
            elif hooks:
                self._spawn(self._invoke_all(hooks, one, entry))

    async def _invoke_all(self, hooks: Sequence[Definition], one: Late, entry: Entry) -> None:
        """Run the hooks of an event one after another."""
        for found in hooks:
            await self._invoke(found, one, entry)

    def _server(self, entry: Entry) -> str | None:
        """Return the MCP server that asks the question of an entry.

        It is kept from the question to its answer: when that is heard, the run may have gone on, or ended.
        """
        match entry.event:
            case events.QuestionAsked(question_id=id, purpose=events.ELICITATION):
                server = self._found_server(id)
                if server is not None:
                    while len(self._asking) >= _WAITING:
                        self._asking.pop(next(iter(self._asking)))
                    self._asking[id] = server
                return server
            case events.QuestionAnswered(question_id=id):
                return self._asking.pop(id, None) or self._found_server(id)
        return None

    def _found_server(self, question_id: str) -> str | None:
        question = self._state.find(Question, question_id)
        turn = self._state.find(Turn, question.run_id) if question is not None else None
        if question is None or turn is None or question.purpose != events.ELICITATION:
            return None
        call = next((call for call in turn.calls if call.question_id == question_id), None)
        return names.server_of(call.call.name) if call is not None else None

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _invoke(self, found: Definition, one: Late, entry: Entry) -> None:
        """Run one hook for an entry; a failure is journaled, and reported by nothing else."""
        async with self._room:
            try:
                if not await fits(found.value.matcher, one.subjects):
                    return
                if (why := await binding.untrusted(self._state, found)) is not None:
                    log.info("hook %s: %s", found.id, why)
                    return
                asked = await self._asked(found, one, entry)
                done = await self._hooks.invoker.invoke(asked, keep_input=True)
                await self._answer(asked, done)
            except StoreFailed:
                return
            except KheishError as error:
                log.warning("hook %s at %s: %s", found.id, one.moment, error.detail)

    async def _asked(self, found: Definition, one: Late, entry: Entry) -> Asked:
        session_id, cwd, mode, model = entry.session, str(self._state.root), "default", None
        transcript = str(await self._hooks.transcripts.empty()) if session_id is None else ""
        if session_id is not None:
            async with self._state.using(session_id):
                settings = self._state.get(Session, session_id).settings
                cwd, mode = settings["workspace"], settings["permission_mode"]
                transcript = str(await self._hooks.transcripts.render(session_id, cwd))
                route = self._state.definitions.routes.get(settings["route"] or "")
                model = route.model if route is not None else None
        document = wire.document(
            one.moment, session_id=session_id, transcript_path=transcript, cwd=cwd, permission_mode=mode, model=model,
            **one.fields,
        )  # fmt: skip
        return Asked(
            id=found.id,
            file=found.value,
            digest=found.digest,
            moment=one.moment,
            invocation_id=invocation(str(entry.n), one.moment, found.id),
            document=document,
            session_id=session_id,
            cwd=cwd,
        )

    async def _answer(self, asked: Asked, done: Invoked) -> None:
        """Answer what an MCP server asks as a hook says; what it cannot answer waits for a user, and so does the rest.

        An earlier answer of a user stands.
        """
        if asked.moment != "elicitation" or asked.file.observe or asked.session_id is None:
            return
        said, id, by = done.answer, str(asked.document["elicitation_id"]), f"hook:{asked.id}"
        refuses = said is None and asked.file.failure == "closed"
        refuses = refuses or (said is not None and (said.decision == "deny" or said.action in ("decline", "cancel")))
        async with self._state.using(asked.session_id):
            question = self._state.find(Question, id)
            if question is None or question.status != "pending":
                return
            if refuses:
                questions.decline(self._state, id, by=by, via="hook", reason=done.outcome.reason)
            elif said is not None and said.action == "accept":
                given = eliciting.answers(question.questions, said.content or {})
                if given is not None:
                    questions.answer(self._state, id, given, by=by, via="hook")

    # --- after a kill -------------------------------------------------------------------------------------------------

    async def _recover(self, cut_off: HookInvocation) -> None:
        """Repeat an invocation with its own input; that of a run is repeated by the run, if it continues."""
        async with pins.owner(self._state, HOOKS, cut_off.hook):
            known = self._state.find(HookInvocation, cut_off.invocation_id)
            if known is None or known.status != "running" or known.invocation_id in self._hooks.invoker.active:
                return
            if known.input is None:
                if await self._is_over(known):
                    self._settle(known, "its run has ended")
                return
            found = self._state.definitions.by_kind["hooks"].get(known.hook)
            if found is None or found.digest != known.digest or found.value.disabled:
                self._settle(known, "the daemon was ended meanwhile, and its file has changed since")
                return
            if (why := await binding.untrusted(self._state, found)) is not None:
                self._settle(known, why)
                return
        document = known.input
        asked = Asked(
            id=found.id,
            file=found.value,
            digest=found.digest,
            moment=known.event,
            invocation_id=known.invocation_id,
            document=document,
            session_id=known.session_id,
            cwd=str(document.get("cwd", self._state.root)),
        )
        self._spawn(self._repeat(asked))

    async def _repeat(self, asked: Asked) -> None:
        async with self._room:
            try:
                if asked.session_id is not None:
                    async with self._state.using(asked.session_id):
                        await self._hooks.transcripts.render(asked.session_id, asked.cwd)
                await self._answer(asked, await self._hooks.invoker.invoke(asked, keep_input=True))
            except KheishError as error:
                log.warning("hook %s at %s: %s", asked.id, asked.moment, error.detail)

    async def _is_over(self, known: HookInvocation) -> bool:
        """Return whether no run repeats the invocation."""
        if known.session_id is None or known.run_id is None:
            return True
        try:
            async with self._state.using(known.session_id):
                run = self._state.find(Run, known.run_id)
                return run is None or run.is_final or progress.of(self._state, known.run_id) is None
        except KheishError:
            return True

    def _settle(self, known: HookInvocation, reason: str) -> None:
        settled = events.HookSettled(
            hook=known.hook, invocation_id=known.invocation_id, result="cancelled", attempts=known.attempts,
            reason=reason,
        )  # fmt: skip
        self._state.append(settled.on())

    # --- trust --------------------------------------------------------------------------------------------------------

    async def tick(self, now: str) -> None:
        """Report the hooks that are not started, after a change of their files or of the trust in them."""
        if self._unseen:
            await self._report()

    async def _report(self) -> None:
        self._unseen = False
        self._problems.clear(UNTRUSTED)
        for found in list(self._state.definitions.by_kind["hooks"].values()):
            why = None if found.value.disabled else await binding.untrusted(self._state, found)
            if why is not None:
                self._problems.add(UNTRUSTED, found.path, f"The hook {found.id} is not started: {why}")

    async def close(self) -> None:
        """End the hooks that run; those with an input are repeated at the next start."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
