"""MCP servers: changes of their files apply at once, answers reach open calls, and connections end with their use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from kheish.daemon.reactors.base import Reactor
from kheish.domain import events, questions, turns
from kheish.domain.questions import Question
from kheish.errors import Damaged, KheishError, NotFound, Unavailable
from kheish.runtime.mcp.calls import Calls
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_TICKS = 30  # seconds between looks at idle connections


class Mcp(Reactor):
    """The reactor of MCP servers."""

    reacts_to = frozenset(
        (
            events.QuestionAnswered,
            events.DefinitionChanged,
            events.DefinitionTrusted,
            events.SessionEnded,
            events.SessionDeleted,
        )
    )

    def __init__(self, state: State, calls: Calls) -> None:
        self._state = state
        self._calls = calls
        self._ticks = 0

    async def start(self) -> None:
        """Withdraw the questions of calls that were open when the daemon ended: no call waits for their answers."""
        try:
            await self._state.caught_up(timeout=60)
        except Unavailable:
            return
        page = await asyncio.to_thread(self._state.index.things, "question", limit=200, statuses=("pending",))
        for doc in page.items:
            if doc["purpose"] == events.ELICITATION:
                await self._withdraw(doc["session_id"], doc["question_id"])

    async def _withdraw(self, session_id: str, question_id: str) -> None:
        try:
            async with self._state.using(session_id):
                question = self._state.find(Question, question_id)
                if question is None or question.status != "pending":
                    return
                turn = self._state.find(turns.Turn, question.run_id)
                calls = turn.open_calls if turn is not None else ()
                asked = (call.input.question_id for call in calls if call.input is not None)
                if question_id not in asked:
                    questions.withdraw(self._state, question_id)
        except (Damaged, NotFound, KheishError) as error:
            log.warning("the question %s of an MCP server cannot be withdrawn: %s", question_id, error.detail)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """React to a durable batch."""
        servers = self._calls.servers
        for item in batch:
            match item.entry.event:
                case events.QuestionAnswered() as answer:
                    self._calls.answers.arrived(answer)
                case events.DefinitionChanged(definition="mcp", id=id):
                    servers.definition_changed(id)
                case events.DefinitionTrusted(definition=name) if name.startswith("mcp/"):
                    servers.definition_changed(name.removeprefix("mcp/"))
                case events.SessionEnded() | events.SessionDeleted() if item.entry.session is not None:
                    servers.session_ended(item.entry.session)

    async def tick(self, now: str) -> None:
        """Close connections without use."""
        self._ticks += 1
        if self._ticks % _TICKS == 0:
            self._calls.servers.close_idle()

    async def close(self) -> None:
        """End all connections and their processes, and give up logins."""
        await self._calls.logins.close()
        await self._calls.servers.close()
