"""Worktrees of agents by HTTP: list, diff, merge, discard."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from falcon.asgi import Request, Response

from kheish.api.agents import bodies
from kheish.api.agents.bodies import ChangeWorktree
from kheish.api.http import media
from kheish.api.http.operation import bind, get, post
from kheish.api.services import Services
from kheish.domain import events
from kheish.domain.agents.agent import Agent
from kheish.domain.events.agents import Worktree
from kheish.errors import NotFound, WorktreeConflict
from kheish.runtime.agents.worktrees import Worktrees as Trees
from kheish.state import pins

Doc = dict[str, Any]


class Worktrees:
    """The resource of `/v1/agents/worktrees` and `/v1/agents/{agent_id}/worktree`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    @property
    def _trees(self) -> Trees:
        if self._services.worktrees is None:
            raise NotFound("This daemon has no worktrees.")
        return self._services.worktrees

    async def list_worktrees(self, req: Request, resp: Response) -> None:
        """Answer with the worktrees that exist: those of agents, and orphans."""
        await self._state.caught_up()
        names = await asyncio.to_thread(self._trees.listed)
        media.send(resp, media.page([await self._row(name) for name in names]))

    async def _row(self, name: str) -> Doc:
        """Return a folder with its agent. It is an orphan if no live agent has it."""
        doc = await asyncio.to_thread(self._state.index.thing, "agent", name)
        tree = doc["worktree"] if doc is not None else None
        return {
            "agent_id": name if doc is not None else None,
            "path": str(self._trees.folder / name),
            "branch": tree["branch"] if tree is not None else None,
            "state": tree["state"] if tree is not None else None,
            "orphan": doc is None or tree is None,
        }

    async def get_worktree(self, req: Request, resp: Response, agent_id: str) -> None:
        """Answer with the changes in an agent's worktree, or on its branch. Raises NotFound."""
        async with pins.thing(self._state, Agent, agent_id):
            agent, tree = self._found(agent_id)
        shown = await self._trees.diff(tree)
        media.send(resp, {
            "agent_id": agent_id,
            "path": tree.path,
            "branch": tree.branch,
            "base": tree.base,
            "state": agent.worktree_state,
            "exists": await asyncio.to_thread(Path(tree.path).is_dir),
            "diff": shown,
        })  # fmt: skip

    async def change_worktree(self, req: Request, resp: Response, agent_id: str) -> None:
        """Merge or discard the worktree of an agent that has settled. Raises NotFound, WorktreeConflict."""
        body = await media.read(req, ChangeWorktree)
        async with pins.thing(self._state, Agent, agent_id):
            agent, tree = self._found(agent_id)
            if agent.is_live:
                raise WorktreeConflict(f"The agent {agent_id} is {agent.status}; wait until it has settled.")
            is_merge = body.action == "merge"
            done = await (self._trees.merge(tree) if is_merge else self._trees.discard(tree))
            if done.state == "kept":
                raise WorktreeConflict(f"The worktree of {agent_id} stays: {done.reason}.")
            changed = events.WorktreeChanged(state="merged" if is_merge else "discarded", commit=done.commit)
            self._state.append(changed.on(agent.session_id, by=req.context.principal))
        await self._state.durable()
        await self.get_worktree(req, resp, agent_id)

    def _found(self, agent_id: str) -> tuple[Agent, Worktree]:
        agent = self._state.get(Agent, agent_id)
        if agent.worktree is None:
            raise NotFound(f"The agent {agent_id} has no worktree.")
        return agent, agent.worktree


ONE = "/v1/agents/{agent_id}/worktree"
OPERATIONS = bind(
    Worktrees,
    get("/v1/agents/worktrees", Worktrees.list_worktrees, "List worktrees.", bodies.WorktreeRow, page=True),
    get(ONE, Worktrees.get_worktree, "Get the changes in a worktree.", bodies.WorktreeDiff, problems=(404,), tie=Agent),
    post(
        ONE,
        Worktrees.change_worktree,
        "Merge or discard a worktree.",
        ChangeWorktree,
        bodies.WorktreeDiff,
        problems=(404, 409),
        tie=Agent,
    ),
)
