"""Ends of agents: a child that has settled is recorded once, with its result for its parent; waits end; stops cascade.

It finds its work in the index (children that are running or waiting) and in entries, so that it is the same after a
restart as live. Live children and their parents stay loaded: a tree of agents is walked in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from typing import Any

from kheish import ids
from kheish.daemon.reactors.base import Reactor
from kheish.daemon.spawning import spawn
from kheish.domain import events, runs
from kheish.domain.agents import agent as agents, ending, fleet, standing
from kheish.domain.agents.agent import Agent
from kheish.domain.events.agents import Worktree
from kheish.domain.runs import Run
from kheish.errors import Damaged, KheishError, NotFound, StoreFailed, WorktreeConflict
from kheish.runtime.agents import reporting
from kheish.runtime.agents.worktrees import Finished, Worktrees
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_PAGE = 200
_HEARD = tuple(agents.FOLDED - {events.SessionCreated, events.SessionForked})


class Agents(Reactor):
    """`damaged(path, reason)` is called for a session that cannot be read: its child's end is not recorded."""

    reacts_to = frozenset((events.DaemonResumed, *_HEARD))

    def __init__(self, state: State, trees: Worktrees | None, *, damaged: Callable[[str, str], None]) -> None:
        self._state = state
        self._trees = trees
        self._damaged = damaged
        self._held: dict[str, ExitStack] = {}  # by live child: the pins of its session and its parent's
        self._deadlines: dict[str, str] = {}
        self._timed: set[str] = set()  # sessions whose agent has a wait with a limit
        self._under_way: dict[str, asyncio.Task[None]] = {}  # by child: its settling

    async def prepare(self) -> None:
        """Count the live children, and load them with their parents."""
        async for doc in self._live_documents():
            if doc["parent"] is not None:
                await self._hold_again(doc)
        newest = await asyncio.to_thread(self._state.index.things, "agent", limit=_PAGE)
        for doc in newest.items:
            fleet.of(self._state).learn(doc, self._state.clock())

    async def _hold_again(self, doc: dict[str, Any]) -> None:
        try:
            async with self._state.using(doc["session_id"]):
                child = self._state.get(Agent, doc["agent_id"])
                if not child.is_live or child.parent_session is None:
                    return
                async with self._state.using(child.parent_session):
                    whole = fleet.of(self._state)
                    whole.add(child.agent_id, child.session_id, child.parent_session, child.root)
                    self._hold(child)
        except (Damaged, NotFound) as error:
            self._damaged(doc["session_id"], error.detail)

    async def _live_documents(self) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, "agent", limit=_PAGE, cursor=cursor, statuses=sorted(standing.LIVE)
            )
            for doc in page.items:
                yield doc
            cursor = page.next_cursor
            if cursor is None:
                return

    async def start(self) -> None:
        """Take up the ends, waits and stops that an earlier daemon left; list its orphaned worktrees."""
        if None in self._state.paused:
            return
        await self._list_orphans()
        async for doc in self._live_documents():
            try:
                async with self._state.using(doc["session_id"]):
                    agent = agents.of_session(self._state, doc["session_id"])
                    for wait in agent.waits:
                        if wait.clarification is not None:
                            await self._state.recall(Run, wait.clarification)
                    ending.clarified(self._state, agent)
                    self._look(doc["session_id"])
            except Damaged as error:
                self._damaged(doc["session_id"], error.detail)
            except NotFound as error:
                log.warning("the agent %s cannot continue: %s", doc["agent_id"], error.detail)

    async def _list_orphans(self) -> None:
        """Log the worktrees that no agent has: a daemon was killed between a worktree and its agent. None is removed,
        except for folders whose removal was cut off."""
        if self._trees is not None:
            await asyncio.to_thread(self._trees.sweep)
        for name in await asyncio.to_thread(self._trees.listed) if self._trees is not None else ():
            if await asyncio.to_thread(self._state.index.thing, "agent", name) is None:
                log.warning("the worktree %s has no agent; see `kheish agents worktrees`", name)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Look at the agents that a batch is about."""
        if any(isinstance(item.entry.event, events.DaemonResumed) for item in batch):
            spawn(self.start())
        sessions = {item.entry.session: None for item in batch if isinstance(item.entry.event, _HEARD)}
        for session_id in sessions:
            if session_id is not None:
                self._look(session_id)

    def _look(self, session_id: str) -> None:
        """Take the steps that are due for the agent of a session, if it is loaded."""
        agent = agents.find_in(self._state, session_id)
        if agent is None:
            return
        if agent.is_child:
            self._look_at_child(agent)
        if None in self._state.paused or self._state.failure is not None:
            return
        try:
            for run_id in list(ending.orphaned(self._state, agent)):
                ending.stop_children(self._state, run_id, by="daemon", reason="the run that spawned it is cancelled")
            for child in agent.live:
                if (below := self._state.find(Agent, child.agent_id)) is not None:
                    ending.clarified(self._state, below)
            for one in (agent, agents.find_in(self._state, agent.parent_session)):
                if one is not None and one.waits:  # its parent may wait for its answer
                    ending.look_at_waits(self._state, one, ids.stamp(self._state.clock()))
        except StoreFailed:
            return  # the daemon ends; the next one continues
        if any(wait.expires_at is not None for wait in agent.waits):
            self._timed.add(session_id)

    def _look_at_child(self, child: Agent) -> None:
        is_known = child.agent_id in fleet.of(self._state).live
        if child.is_live and child.agent_id not in self._held:
            self._hold(child)
        if None in self._state.paused:
            return
        if ending.is_due(self._state, child):
            self._begin(child.agent_id, self._settle(child.agent_id, child.session_id))
        elif child.is_live and not is_known:
            self._begin(child.agent_id, self._resume(child.agent_id, child.session_id))
        elif not is_known:
            self._release(child.agent_id)

    def _hold(self, child: Agent) -> None:
        assert child.parent_session is not None
        stack = self._held[child.agent_id] = ExitStack()
        stack.enter_context(self._state.pins.hold(child.session_id))
        stack.enter_context(self._state.pins.hold(child.parent_session))
        if child.deadline is not None:
            self._deadlines[child.agent_id] = child.deadline

    def _release(self, agent_id: str) -> None:
        if (stack := self._held.pop(agent_id, None)) is not None:
            stack.close()
        self._deadlines.pop(agent_id, None)

    # --- one child ----------------------------------------------------------------------------------------------------

    def _begin(self, agent_id: str, work: Any) -> None:
        if agent_id in self._under_way:
            work.close()
            return
        task = self._under_way[agent_id] = asyncio.create_task(work, name=f"settle {agent_id}")
        task.add_done_callback(lambda _: self._under_way.pop(agent_id, None))

    async def _settle(self, agent_id: str, session_id: str) -> None:
        """Record the end of a child. Only this place may catch the foreseen errors of one child."""
        state = self._state
        try:
            async with state.using(session_id):
                parent_session = state.get(Agent, agent_id).parent_session
                assert parent_session is not None
                async with state.using(parent_session):
                    while ending.is_due(state, child := state.get(Agent, agent_id)):
                        if child.worktree is not None and child.worktree_state in (None, "restored"):
                            await self._finish(child, child.worktree)
                            continue
                        output = await reporting.with_tails(state, child)
                        letter = await reporting.letter(state, child, output)
                        if state.get(Agent, agent_id) == child:  # nothing has happened to it meanwhile
                            ending.settle(state, child, output, letter)
                            self._release(agent_id)
        except StoreFailed:
            return  # the daemon ends; the next one records it
        except Damaged as error:
            self._damaged(session_id, error.detail)
        except KheishError as error:
            log.error("the end of the agent %s cannot be recorded: %s", agent_id, error.detail)

    async def _finish(self, child: Agent, tree: Worktree) -> None:
        """Commit or remove a child's worktree before its end is recorded: its result names what became of it."""
        done = Finished("kept", reason="this daemon has no worktrees")
        if self._trees is not None:
            done = await self._trees.finish(tree)
        changed = events.WorktreeChanged(state=done.state, commit=done.commit, reason=done.reason)
        self._state.append(changed.on(child.session_id))

    async def _restore(self, child: Agent, tree: Worktree) -> None:
        """Make the worktree of a resumed child again if it is gone. Its runs fail if that is not possible."""
        try:
            if self._trees is not None and await self._trees.ensure(tree):
                self._state.append(events.WorktreeChanged(state="restored").on(child.session_id))
        except WorktreeConflict as error:
            for run_id in sorted(self._state.get(Agent, child.agent_id).runs):
                runs.fail(self._state, run_id, error.code, error.detail)

    async def _resume(self, agent_id: str, session_id: str) -> None:
        """Count a settled child that has work again, and record it in its parent's journal."""
        state = self._state
        try:
            async with state.using(session_id):
                parent_session = state.get(Agent, agent_id).parent_session
                assert parent_session is not None
                async with state.using(parent_session):
                    child = state.get(Agent, agent_id)
                    if child.is_live:
                        ending.resume(state, child)
                    if child.worktree is not None:
                        await self._restore(child, child.worktree)
        except (StoreFailed, NotFound):
            return
        except Damaged as error:
            self._damaged(session_id, error.detail)

    async def tick(self, now: str) -> None:
        """End waits and agents whose time is over."""
        if None in self._state.paused:
            return
        for session_id in list(self._timed):
            agent = agents.find_in(self._state, session_id)
            if agent is None or not any(wait.expires_at for wait in agent.waits):
                self._timed.discard(session_id)
            else:
                ending.look_at_waits(self._state, agent, now)
        for agent_id, deadline in list(self._deadlines.items()):
            child = self._state.find(Agent, agent_id)
            if deadline <= now and child is not None and child.is_live:
                del self._deadlines[agent_id]
                ending.stop_agent(self._state, child, ending.Stopped(), by="daemon", reason=ending.TIMEOUT)

    async def close(self) -> None:
        """Stop settling; the next daemon continues."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
