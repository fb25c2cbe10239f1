"""Debug capture of a daemon's runs."""

from __future__ import annotations

from collections.abc import Mapping

from kheish.authoring.problems import Problems
from kheish.runtime.agent import Agent
from kheish.runtime.debug.capture import Capture
from kheish.store.secrets import identity_path


def make(agent: Agent, environ: Mapping[str, str], problems: Problems) -> None:
    """Give the agent, and its MCP servers, the capture of runs."""

    def report(message: str) -> None:
        problems.add("debug_capture", "", message, severity="warning")

    agent.debug = Capture(agent.state, identity_path(environ), report)
    if agent.mcp is not None:
        agent.mcp.debug = agent.debug
