"""The MCP servers and hooks of a State in a test's own process: none is started."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kheish.auth.broker import Broker
from kheish.auth.vault import Vault
from kheish.runtime.hooks.service import Hooks
from kheish.runtime.mcp import setup
from kheish.runtime.mcp.calls import Calls
from kheish.state.state import State


def servers(state: State, broker: Broker, folder: Path) -> Calls:
    """Return what the API is handed. Nothing is confined, and nobody keeps the vault."""
    agent: Any = SimpleNamespace(state=state, broker=broker, tool_source=lambda run: {})
    unused: Any = None
    setup.make(agent, unused, folder, unused, {}, Vault(), unused, lambda: "http://127.0.0.1:4000", "/callback")
    calls: Calls = agent.mcp
    return calls


def hooks(state: State, broker: Broker) -> Hooks:
    """Return the hooks that the API is handed."""
    agent: Any = SimpleNamespace(state=state, broker=broker, stopping=SimpleNamespace(is_set=lambda: False))
    return Hooks(agent, {})
