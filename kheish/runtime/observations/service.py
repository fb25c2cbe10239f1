"""The service of observations: their keeper and their reader for prompts together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kheish.runtime.observations.keeper import Keeper
from kheish.runtime.observations.showing import Shower

if TYPE_CHECKING:
    from kheish.runtime.agent import Agent
    from kheish.runtime.assets.service import Assets


@dataclass(frozen=True, slots=True)
class Observations:
    """The observations of a daemon."""

    keeper: Keeper
    shower: Shower


def make(agent: Agent, assets: Assets) -> Observations:
    """Return the service, and give it to the agent."""
    keeper = Keeper(agent.state, assets)
    service = agent.observations = Observations(keeper, Shower(keeper))
    return service


def of(agent: Agent) -> Observations:
    """Return the service of an agent that has one."""
    assert agent.observations is not None
    return agent.observations
