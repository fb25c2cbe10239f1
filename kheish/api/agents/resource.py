"""Agents by HTTP: list, show, tree, spawn, explain, quotas, change, close."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.agents import bodies, worktrees
from kheish.api.agents.bodies import AgentChanges, CloseAgent, SpawnAgent
from kheish.api.assets import seeing
from kheish.api.http import filtering, media, paging
from kheish.api.http.operation import bind, get, patch, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.api.submissions import TextItem
from kheish.domain import events, keys, scopes
from kheish.domain.agents import agent as agents, ending, spawn, standing, usage
from kheish.domain.agents.agent import Agent, AgentView
from kheish.domain.assets import asset as assets
from kheish.domain.events import Item
from kheish.errors import AgentStateConflict
from kheish.runtime.agents import closing, spawning
from kheish.state import pins
from kheish.state.state import State

Doc = dict[str, Any]
STATUSES = tuple(standing.MOVES)
_OPEN = tuple(status for status in STATUSES if status != "closed")
LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", STATUSES),
    paging.text("root", "Only agents of the tree below this agent, and itself."),
    paging.text("parent", "Only children of this agent."),
    Param(name="closed", kind="flag", about="Whether to list closed agents as well."),
    paging.PREFIX,
)
_PAGE = 200


class Agents:
    """The resource of `/v1/agents` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def list_agents(self, req: Request, resp: Response) -> None:
        """Answer with a page of agents, newest first; closed ones only if asked for."""
        query = dict(req.context.query)
        if not query.get("status") and not query.get("closed"):
            query["status"] = _OPEN
        page = await views.listed(self._state, Agent, query)
        media.send(resp, {**page, "items": [usage.shown(self._state, doc) for doc in page["items"]]})

    async def get_agent(self, req: Request, resp: Response, agent_id: str) -> None:
        """Answer with one agent."""
        media.send(resp, await document(self._state, agent_id))

    async def agent_tree(self, req: Request, resp: Response, agent_id: str) -> None:
        """Answer with an agent and all agents below it, nested."""
        top = await document(self._state, agent_id)
        await self._state.caught_up()
        docs = await _of_tree(self._state, top["root"])
        by_parent: dict[str, list[Doc]] = {}
        for doc in sorted(docs, key=lambda doc: (doc["spawned_at"], doc["agent_id"])):
            by_parent.setdefault(doc["parent"] or "", []).append(usage.shown(self._state, doc))
        media.send(resp, _nested(top, by_parent))

    async def agent_quotas(self, req: Request, resp: Response) -> None:
        """Answer with the quotas and what is used of them, for a session's agent if one is named."""
        session_id = paging.session_of(req.context.query)
        limits = self._state.definitions.config.agents.model_dump()
        async with AsyncExitStack() as used:
            agent: Agent | None = None
            if session_id is not None:
                await used.enter_async_context(self._state.using(session_id))
                agent = agents.of_session(self._state, session_id)
            quotas = _quotas(self._state, agent)
        found = {"session_id": session_id, "agent_id": agent.agent_id if agent else None, "quotas": quotas}
        media.send(resp, {**found, "limits": limits})

    async def spawn_agent(self, req: Request, resp: Response, agent_id: str) -> None:
        """Spawn a child (202). Raises ScopeTooWide (first of all), SpawnQuota, AgentExists, AgentStateConflict."""
        body = await media.read(req, SpawnAgent)
        request = _idempotency(req, body, agent_id)
        async with AsyncExitStack() as used:
            session_id = await self._use(used, agent_id)
            await used.enter_async_context(assets.using(self._state, _items(body)))
            key = await keys.known(self._state, request)
            earlier = keys.earlier(self._state, key)
            if earlier is None:
                await seeing.check(self._state, req.context.caller, _items(body))
                parent = agents.of_session(self._state, session_id)
                run = spawning.run_of(self._state, parent)
                wanted, trees = self._wanted(req, body, key), self._services.worktrees
                child, drafts = await spawning.spawned(self._state, session_id, run, wanted, trees)
                self._state.append(*drafts)
                earlier = child.agent_id
            n = self._state.n
            doc = await document(self._state, earlier)
        resp.set_header("Location", f"/v1/agents/{earlier}")
        media.send(resp, doc, status=202, n=n)

    async def explain_spawn(self, req: Request, resp: Response, agent_id: str) -> None:
        """Answer as a spawn would, without doing it."""
        body = await media.read(req, SpawnAgent)
        async with AsyncExitStack() as used:
            session_id = await self._use(used, agent_id)
            await used.enter_async_context(assets.using(self._state, _items(body)))
            await seeing.check(self._state, req.context.caller, _items(body))
            parent = agents.of_session(self._state, session_id)
            run = spawning.run_of(self._state, parent)
            child = await spawning.planned(self._state, session_id, run, self._wanted(req, body, None))
            media.send(resp, _explained(self._state, child))

    async def change_agent(self, req: Request, resp: Response, agent_id: str) -> None:
        """Change its nickname or retention."""
        body = await media.read(req, AgentChanges)
        given = body.model_dump(mode="json", exclude_unset=True)
        if given.get("retention", "") is None:
            given["retention"] = "retain"
        async with AsyncExitStack() as used:
            await self._use(used, agent_id)
            agent = self._state.get(Agent, agent_id)
            changes = {name: value for name, value in given.items() if getattr(agent, name) != value}
            if changes:
                updated = events.AgentUpdated(changes=changes)
                self._state.append(updated.on(agent.session_id, by=req.context.principal))
            n = self._state.n
            doc = await document(self._state, agent_id)
        media.send(resp, doc, n=n if changes else None)

    async def close_agent(self, req: Request, resp: Response, agent_id: str) -> None:
        """Close an agent for good, with the agents below it; a closed agent stays as it is."""
        body = await media.read(req, CloseAgent)
        await document(self._state, agent_id)
        stopped = ending.Stopped()
        closed = await closing.close(
            self._state, agent_id, stopped, by=req.context.principal, reason=body.reason, cascade=body.cascade
        )
        n = self._state.n
        await self._state.durable()
        media.send(resp, {"closed": closed, "cancelled_runs": stopped.runs}, n=n if closed else None)

    async def _use(self, used: AsyncExitStack, agent_id: str) -> str:
        """Keep the session of an agent loaded, and return it. Raises NotFound, AgentStateConflict."""
        await used.enter_async_context(pins.thing(self._state, Agent, agent_id))
        agent = self._state.find(Agent, agent_id)
        if agent is None:
            raise AgentStateConflict(f"The agent {agent_id} has ended.")
        return agent.session_id

    def _wanted(self, req: Request, body: SpawnAgent, key: keys.Key | None) -> spawning.Request:
        tools = body.tools
        filtering.check_placement(req.context.caller, body.worker)
        wanted = spawn.Spawn(
            name=body.name,
            items=_items(body),
            by=req.context.principal,
            agent=body.agent,
            instructions=body.instructions.model_dump() if body.instructions else None,
            route=body.route,
            model=body.model,
            generation=body.generation or {},
            allow=tuple(tools.allow) if tools is not None and tools.allow is not None else None,
            deny=tuple(tools.deny) if tools is not None else (),
            permission_mode=body.permission_mode,
            capability_scope=body.capability_scope.model_dump() if body.capability_scope else None,
            credential_scope=body.credential_scope.model_dump() if body.credential_scope else None,
            budget=body.budget.model_dump(exclude_none=True) if body.budget else None,
            isolation=body.isolation,
            finish=body.finish,
            retention=body.retention,
            detached=body.detached,
            timeout=body.timeout,
            request_id=key.request.key if key is not None else None,
            key=key,
            allow_bypass=self._services.allow_bypass,
            worker=body.worker,
        )
        return spawning.Request(spawn=wanted, cwd=body.cwd, context=body.context)


async def document(state: State, agent_id: str) -> Doc:
    """Return an agent's document, with its usage at this moment. Raises NotFound."""
    return usage.shown(state, await views.document(state, Agent, agent_id))


async def _of_tree(state: State, root: str) -> list[Doc]:
    docs: list[Doc] = []
    cursor: str | None = None
    while True:
        page = await asyncio.to_thread(state.index.things, "agent", limit=_PAGE, cursor=cursor, fields={"root": root})
        docs += page.items
        cursor = page.next_cursor
        if cursor is None:
            return await views.expand(state, docs)


def _nested(doc: Doc, by_parent: dict[str, list[Doc]]) -> Doc:
    below = [_nested(child, by_parent) for child in by_parent.get(doc["agent_id"], ())]
    return {"agent": doc, "children": below}


def _quotas(state: State, agent: Agent | None) -> list[Doc]:
    if agent is None:
        agent = Agent(agent_id="", session_id="", made=0, n=0, root="", root_session="")
        names = {"live", "spawns_per_minute"}
    else:
        names = set(state.definitions.config.agents.model_dump())
    counts = spawn.counted(state, agent, spawning.run_of(state, agent) if agent.agent_id else None)
    return [{"name": name, "used": used, "limit": most} for name, used, most, _ in counts if name in names]


def _explained(state: State, child: spawn.Child) -> Doc:
    settings, persona = child.settings, child.settings["persona"]
    capability = scopes.capability(settings, persona, in_flow=False)
    return {
        "allowed": True,
        "name": child.wanted.name,
        "path": f"{child.parent.path}/{child.wanted.name}",
        "parent": child.parent.agent_id,
        "depth": child.parent.depth + 1,
        "permission_mode": settings["permission_mode"],
        "route": settings["route"],
        "workspace": settings["workspace"],
        "isolation": child.isolation,
        "worker": settings["worker"],
        "persona": persona["persona_id"] if persona else None,
        "skills": persona.get("skills") if persona else None,
        "budget": settings["budget"],
        "capability_scope": [_scope(one) for one in capability],
        "credential_scope": [_scope(one) for one in scopes.credential(settings)],
        "quotas": _quotas(state, child.parent),
    }


def _scope(scope: events.Scope) -> Doc:
    return {"origin": scope.origin, "allow": scope.allow, "deny": scope.deny}


def _items(body: SpawnAgent) -> tuple[Item, ...]:
    if body.items is None:
        return (Item(text=body.prompt),)
    return tuple(
        Item(type="text", text=item.text) if isinstance(item, TextItem) else Item(type="asset", asset_id=item.asset_id)
        for item in body.items
    )


def _idempotency(req: Request, body: SpawnAgent, agent_id: str) -> events.Idempotency | None:
    """Return the key of a spawn: the header, or `spawn_request_id`. Raises IdempotencyMismatch."""
    scope, id = f"agents/{agent_id}/sidechains", body.spawn_request_id
    request = body.model_dump(mode="json", exclude={"spawn_request_id"}, exclude_none=True)
    header = media.one_key(req, id, "spawn_request_id")
    return keys.of(scope, header, request)


ONE = "/v1/agents/{agent_id}"
OPERATIONS = worktrees.OPERATIONS + bind(
    Agents,
    get("/v1/agents", Agents.list_agents, "List agents, newest first.", AgentView, *LIST, page=True, tie="query"),
    get(
        "/v1/agents/quotas",
        Agents.agent_quotas,
        "Get the quotas of agents, and what is used of them.",
        bodies.Quotas,
        *paging.SESSION,
        problems=(404,),
        tie="query",
    ),
    get(ONE, Agents.get_agent, "Get one agent.", AgentView, problems=(404,), tie=Agent),
    patch(
        ONE,
        Agents.change_agent,
        "Change an agent's nickname or retention.",
        AgentChanges,
        AgentView,
        problems=(404, 409),
        tie=Agent,
    ),
    get(f"{ONE}/tree", Agents.agent_tree, "Get an agent and all below it.", bodies.Tree, problems=(404,), tie=Agent),
    post(
        f"{ONE}/sidechains",
        Agents.spawn_agent,
        "Spawn a child.",
        SpawnAgent,
        AgentView,
        good=(202,),
        problems=(404, 409),
        key=True,
        tie=Agent,
    ),
    post(
        f"{ONE}/sidechains/explain",
        Agents.explain_spawn,
        "Answer as a spawn would, without doing it.",
        SpawnAgent,
        bodies.Explained,
        problems=(404, 409),
        tie=Agent,
    ),
    post(
        f"{ONE}/close",
        Agents.close_agent,
        "Close an agent for good.",
        CloseAgent,
        bodies.Closed,
        problems=(404, 409),
        tie=Agent,
    ),
)
