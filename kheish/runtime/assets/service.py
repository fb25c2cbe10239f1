"""The service of assets: their keeper and their conversions together, for the API, the tools and the prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kheish.runtime.assets.deriving import Deriver
from kheish.runtime.assets.keeper import Keeper, Reports
from kheish.runtime.assets.transcribing import Transcriber

if TYPE_CHECKING:
    from kheish.runtime.agent import Agent


@dataclass(frozen=True, slots=True)
class Assets:
    """The assets of a daemon."""

    keeper: Keeper
    deriver: Deriver


def make(agent: Agent, reports: Reports) -> Assets:
    """Return the service, and give it to the agent."""
    keeper = Keeper(agent.state, reports)
    deriver = Deriver(keeper, lambda: agent.sandbox().available, Transcriber(agent).transcribe)
    assets = agent.assets = Assets(keeper, deriver)
    return assets
