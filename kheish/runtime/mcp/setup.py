"""The MCP servers of a daemon, put together; nothing is started, and the SDK is not imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kheish.auth.accounts import Keeper
from kheish.auth.vault import Vault
from kheish.domain import routes
from kheish.runtime.agent import Agent
from kheish.runtime.mcp.answers import Answers
from kheish.runtime.mcp.calls import Calls
from kheish.runtime.mcp.logins import Logins
from kheish.runtime.mcp.memory import Memory
from kheish.runtime.mcp.opening import Reports, Surroundings
from kheish.runtime.mcp.servers import Servers
from kheish.runtime.mcp.tools import Common
from kheish.runtime.tools.installed import packages
from kheish.runtime.tools.shell import SandboxSettings


def make(
    agent: Agent,
    reports: Reports,
    folder: Path,
    sandbox: Callable[[], SandboxSettings],
    environ: Mapping[str, str],
    vault: Vault,
    keeper: Keeper,
    url: Callable[[], str],
    callback: str,
) -> None:
    """Give the agent the tools of servers beside its own; `folder` is for the servers' working folders. `url` returns
    the daemon's own address, and `callback` is the path to which logins return."""
    state, common = agent.state, Common()

    def value(slot: str) -> str:
        found = routes.from_environment(slot, environ)
        return found if found is not None else vault.value(slot)

    def renewed(server: str) -> None:
        servers.definition_changed(server)

    logins = Logins(
        state,
        vault,
        keeper,
        redirect=lambda: (state.definitions.config.public_url or url()) + callback,
        renewed=renewed,
        value=value,
    )
    around = Surroundings(
        state=state,
        broker=agent.broker,
        reports=reports,
        memory=Memory(state.root / ".kheish" / "mcp"),
        folder=folder,
        sandbox=sandbox,
        environ=environ,
        logins=logins,
    )
    servers = Servers(around, agent.tool_source(None), {tool.name: tool for tool in common.make()})
    calls = Calls(state=state, broker=agent.broker, servers=servers, answers=Answers(), logins=logins)
    servers.calling = calls.of
    common.servers, common.send, common.transcribed = servers, calls.send, calls.transcribed
    agent.mcp, agent.tool_source = calls, servers.tools


async def add_packages(servers: Servers, reports: Reports) -> None:
    """Import the installed packages of tools, and offer their tools to every run; report those with a fault. Call it
    before the first run."""
    found = await packages.load(servers.with_common)
    tools = packages.tools_of(found)
    servers.builtin, servers.with_common = {**servers.builtin, **tools}, {**servers.with_common, **tools}
    for one in found:
        if one.problem is not None:
            reports.add("tool_package", f"{packages.GROUP}/{one.entry_point}", one.problem)
