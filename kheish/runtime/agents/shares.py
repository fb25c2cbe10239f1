"""Shares of a budget: a child that used its share lets its siblings go first. Nothing is handed out at a spawn."""

from __future__ import annotations

import asyncio

from kheish.domain.agents import usage
from kheish.domain.agents.agent import Agent
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.spent import Spent
from kheish.runtime.agent import Agent as Environment
from kheish.state.state import State

_PAUSE = 0.05


async def let_siblings_go_first(state: State, run: Run, environment: Environment) -> None:
    """Wait while a child is beyond its share of the budget of the run above, and a sibling that is not is at work."""
    while _is_ahead(state, run) and not environment.stopping.is_set():
        await asyncio.sleep(_PAUSE)
        if state.get(Run, run.run_id).stop_requested:
            return


def _is_ahead(state: State, run: Run) -> bool:
    """Return whether a sibling within its share is at work, and this child is beyond its own. A child with a budget of
    its own has no share."""
    agent = state.find(Agent, run.agent_id)
    above = state.find(Run, agent.spawned_by_run) if agent is not None and agent.spawned_by_run is not None else None
    if agent is None or above is None or state.get(Session, run.session_id).settings["budget"]:
        return False
    limits, count = above.settings.limits, len(above.children) + 1
    for limit, amount in ((limits.tokens, _tokens), (limits.cost_usd, _cost)):
        if limit is None or amount(usage.own(state, agent)) <= limit / count:
            continue
        siblings = (state.find(Agent, id) for id in above.children if id != agent.agent_id)
        if any(
            one is not None and one.status == "running" and amount(usage.own(state, one)) <= limit / count
            for one in siblings
        ):
            return True
    return False


def _tokens(spent: Spent) -> float:
    return spent.input_tokens + spent.output_tokens


def _cost(spent: Spent) -> float:
    return spent.cost_usd or 0.0
