"""The usage of agents while they work: their own, and that of their trees. It walks live agents only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kheish.domain import spent
from kheish.domain.agents.agent import Agent, open_runs
from kheish.domain.events import Limits
from kheish.domain.runs import Run
from kheish.domain.spent import Spent

if TYPE_CHECKING:
    from kheish.state.state import State


def own(state: State, agent: Agent) -> Spent:
    """Return the usage of a loaded agent's runs, including those that have not ended."""
    return spent.total(agent.own, *(run.usage for run in open_runs(state, agent).values()))


def subtree(state: State, agent: Agent) -> Spent:
    """Return the usage of a loaded agent and of all agents below it."""
    return spent.total(own(state, agent), below(state, agent))


def below(state: State, agent: Agent) -> Spent:
    """Return the usage of all agents below a loaded agent."""
    return spent.total(agent.below, *(unreported(state, child.agent_id) for child in agent.live))


def unreported(state: State, agent_id: str) -> Spent:
    """Return the usage of a child's subtree that its parent's record lacks."""
    child = state.find(Agent, agent_id)
    return spent.NOTHING if child is None else spent.since(subtree(state, child), child.reported)


def of_run(state: State, run: Run) -> Spent:
    """Return the usage of a run and of all agents that it spawned."""
    return spent.total(run.usage, run.below, *(unreported(state, id) for id in sorted(run.children)))


def shown(state: State, doc: dict[str, Any]) -> dict[str, Any]:
    """Return an agent's document with its usage at this moment, if it is loaded."""
    agent = state.find(Agent, doc["agent_id"])
    if agent is not None and (agent.runs or agent.live):
        doc["usage"] = {"own": own(state, agent), "subtree": subtree(state, agent)}
    return doc


def ancestors(state: State, agent: Agent) -> Iterator[tuple[Agent, Run | None]]:
    """Yield the agents above a loaded agent, each with the run that spawned the agent below, if it is in memory."""
    while agent.parent is not None:
        above = state.find(Agent, agent.parent)
        if above is None:
            return
        yield above, state.find(Run, agent.spawned_by_run) if agent.spawned_by_run else None
        agent = above


def exceeded(limits: Limits, granted: dict[str, float], used: Spent) -> tuple[str, float, float] | None:
    """Return the shared limit of a run that an amount has reached: its name, the limit, and the amount."""
    for name, allowed, amount in (
        ("tokens", limits.tokens, used.input_tokens + used.output_tokens),
        ("cost_usd", limits.cost_usd, used.cost_usd or 0.0),
    ):
        if allowed is not None and amount >= allowed + granted.get(name, 0.0):
            return name, float(allowed), float(amount)
    return None
