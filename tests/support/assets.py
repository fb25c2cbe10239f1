"""Assets of a state without a daemon; their problems are kept in a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kheish.runtime.assets.deriving import Deriver
from kheish.runtime.assets.keeper import Keeper
from kheish.runtime.assets.service import Assets
from kheish.runtime.observations import keeper as observations
from kheish.runtime.observations.service import Observations
from kheish.runtime.observations.showing import Shower
from kheish.state.state import State


@dataclass(slots=True)
class Reports:
    """The reported problems: code and path, with the message."""

    found: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, code: str, path: str, message: str) -> None:
        self.found[code, path] = message

    def clear(self, code: str, path: str | None = None) -> None:
        self.found.pop((code, path or ""), None)


def stored_things(state: State) -> dict[str, Any]:
    """Return the services of assets and of observations of a state."""
    assets = stored_files(state)
    keeper = observations.Keeper(state, assets)
    return {"assets": assets, "observations": Observations(keeper, Shower(keeper))}


def stored_files(state: State, reports: Reports | None = None) -> Assets:
    """Return the service of a state."""
    keeper = Keeper(state, reports or Reports())
    return Assets(keeper, Deriver(keeper, lambda: False))
