"""Skills with `context: fork`: each runs in an agent of its own, and its answer is the result of the call."""

from __future__ import annotations

import hashlib

from kheish.domain import keys, routes
from kheish.domain.agents.agent import of_session
from kheish.domain.agents.spawn import Spawn
from kheish.domain.events import Draft, Item, WaitOpened
from kheish.domain.permissions import policy as permission_policy
from kheish.domain.runs import Run
from kheish.domain.skills import allowed
from kheish.domain.skills.skill import Skill
from kheish.runtime.agents import spawning
from kheish.runtime.skills import starting
from kheish.runtime.skills.catalog import Found
from kheish.runtime.tools.base import Context

#: tools that such an agent has besides those that its skill names
_OWN = ("use_skill", "list_skills", "read_file")


async def drafts(context: Context, found: Found, arguments: str) -> list[Draft]:
    """Return the group that spawns the agent, and waits for it. A repeated call finds the agent that it spawned before.

    Raises as `spawning.spawned`.
    """
    state, parent = context.state, of_session(context.state, context.session_id)
    skill = found.skill
    request = {"skill": found.name, "arguments": arguments}
    key = await keys.known(state, spawning.key_of(parent.agent_id, context.key, request))
    earlier = keys.earlier(state, key)
    if earlier is not None:
        return [_wait(context, earlier)]
    run = state.get(Run, context.run_id)
    policies = (*run.settings.tool_policies, *run.settings.capability_scope)
    named = allowed.tools([call.partition("(")[0] for call in skill.allowed_tools])
    tools = [tool for tool in named if permission_policy.leaves(policies, tool)]
    wanted = Spawn(
        name=_name(found.name, context.key),
        items=(Item(text=starting.task(found.name, arguments)),),
        by=f"agent:{context.agent_id}",
        allow=tuple(dict.fromkeys((*tools, *_OWN))) if named else None,
        deny=allowed.tools(skill.disallowed_tools),
        route=_route(context, skill),
        request_id=context.key,
        key=key,
        skills=(found.name,),
    )
    child, group = await spawning.spawned(state, context.session_id, run, spawning.Request(spawn=wanted), None)
    return [*group, _wait(context, child.agent_id)]


def _wait(context: Context, agent_id: str) -> Draft:
    opened = WaitOpened(call_id=context.call_id, agents=(agent_id,), until="settle")
    return opened.on(context.session_id, context.run_id)


def _name(skill: str, key: str) -> str:
    """Return a name that no other call's agent has."""
    return f"{skill}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _route(context: Context, skill: Skill) -> str | None:
    """Return the route of the skill's model; None for the parent's, also if the model is another vendor's name."""
    if skill.model is None:
        return None
    known = context.state.definitions.routes
    route_id = skill.model.partition("/")[0]
    return skill.model if route_id in known and routes.choose(skill.model, None, known) else None
