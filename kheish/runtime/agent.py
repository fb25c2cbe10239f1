"""The environment of a run's loop: model, tools, jobs, live output, and the gates that delay steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from kheish.auth import redaction
from kheish.auth.broker import Broker
from kheish.domain.runs import Run
from kheish.jobs.commands import Commands
from kheish.jobs.runner import Jobs
from kheish.runtime.agents.worktrees import Worktrees
from kheish.runtime.drivers.digests import Digests
from kheish.runtime.executor import Executor
from kheish.runtime.gates import Gates
from kheish.runtime.memory.recall import Memory
from kheish.runtime.prompt import Rendered
from kheish.runtime.replays.marks import Mark
from kheish.runtime.skills.offer import Offer
from kheish.runtime.skills.service import Skills
from kheish.runtime.tools import skills as skill_tools
from kheish.runtime.tools.base import Tool
from kheish.runtime.windows import Windows
from kheish.state.state import State
from kheish.store.bus import Bus, Frame

if TYPE_CHECKING:
    from kheish.domain.permissions.rules import SandboxFacts
    from kheish.runtime.assets.service import Assets
    from kheish.runtime.debug.capture import Capture
    from kheish.runtime.hooks.service import Hooks
    from kheish.runtime.mcp.calls import Calls
    from kheish.runtime.observations.service import Observations
    from kheish.runtime.workers.carrying import Carrying
    from kheish.runtime.workers.pool import Workers


class Stopped(Exception):
    """The daemon is stopping: no new step is started. The journal holds where the run continues."""


@dataclass(slots=True)
class Driven:
    """The cache of a driven run, so that a turn costs what is new in it: the tools of the newest turn, the rendered
    conversation, and the digest of the last request. It is rebuilt from the journal; the offered skills, from disk."""

    tools: Mapping[str, Tool] | None = None
    offer: Offer | None = None
    rendered: Rendered = field(default_factory=Rendered)
    digests: Digests = field(default_factory=Digests)
    replayed: Mark | None = None
    sections: dict[str, str] = field(default_factory=dict)  # digests of the prompt's sections, as journaled last


@dataclass(slots=True)
class Agent:
    """The environment that all runs share. Of a driven run it holds only what follows from the journal."""

    state: State
    bus: Bus
    executor: Executor
    tool_source: Callable[[Run | None], Mapping[str, Tool]]
    jobs: Commands
    here: Jobs  # those of this machine
    gates: Gates
    broker: Broker
    sandbox: Callable[[], SandboxFacts]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    windows: Windows = field(default_factory=Windows)
    memory: Memory | None = None
    skills: Skills | None = None
    worktrees: Worktrees | None = None
    mcp: Calls | None = None
    assets: Assets | None = None
    observations: Observations | None = None
    hooks: Hooks | None = None
    workers: Workers | None = None
    carrying: Carrying | None = None
    debug: Capture | None = None
    #: runs that may be stopped at once: they wait for a model, and have no effects meanwhile
    interruptible: set[str] = field(default_factory=set)
    _driven: dict[str, Driven] = field(default_factory=dict)

    async def may_step(self, run: Run) -> None:
        """Wait while the daemon or the route is paused. Raises Stopped."""
        if self.stopping.is_set():
            raise Stopped
        await self.gates.unpaused(self.state, run.settings.route, self.stopping)
        if self.stopping.is_set():
            raise Stopped

    def tools_for(self, run: Run | None) -> Mapping[str, Tool]:
        """Return the tools of a run; without a run, those of any run.

        Tools appear and disappear with their servers. So a turn's calls are judged by the tools that its model was
        offered. A run that is not driven (it waits, or the daemon was restarted) has no offer: its calls are judged by
        the current tools.
        """
        driven = self._driven.get(run.run_id) if run else None
        return self.tool_source(run) if driven is None or driven.tools is None else driven.tools

    def renew_tools(self, run: Run) -> None:
        """Use the current tools for the run's next turn."""
        driven, tools = self.driven(run), self.tool_source(run)
        offer = driven.offer
        driven.tools = tools if offer is None else skill_tools.offered(tools, offer.names, exist=bool(offer.visible))

    async def ready_tools(self, run: Run) -> None:
        """Wait for the MCP servers that the run needs and that start, and use the current tools for its next turn."""
        if self.mcp is not None:
            self.interruptible.add(run.run_id)
            try:
                await self.mcp.servers.ready(run)
            finally:
                self.interruptible.discard(run.run_id)
        self.renew_tools(run)

    def driven(self, run: Run) -> Driven:
        """Return what is kept of a run while it is driven."""
        return self._driven.setdefault(run.run_id, Driven())

    def release(self, run_id: str) -> None:
        """Drop what is kept of a run that is no longer driven."""
        self._driven.pop(run_id, None)

    def live(self, kind: str, run: Run, turn: int, attempt: int) -> Live:
        """Return the live output of a step."""
        about = {"live": True, "session": run.session_id, "run": run.run_id, "turn": turn, "attempt": attempt}
        return Live(self.bus, kind, about, redaction.stream(self.state.scrub))


class Live:
    """The live output of one step to its readers, without secrets; `offset` counts the characters shown before."""

    def __init__(self, bus: Bus, kind: str, about: Mapping[str, Any], stream: redaction.Stream) -> None:
        self._bus = bus
        self._kind = kind
        self._about = about
        self._stream = stream
        self._offset = 0

    def __call__(self, text: str) -> None:
        """Emit the text, as far as it is safe now."""
        self._show(self._stream.feed(text))

    def end(self) -> None:
        """End the step: emit the text that was held back as a possible beginning of a secret."""
        self._show(self._stream.end())

    def _show(self, text: str) -> None:
        offset, self._offset = self._offset, self._offset + len(text)
        if text and self._bus.is_heard:
            data = {**self._about, "offset": offset, "text": text}
            frame = Frame(0, self._kind, self._about["session"], self._about["run"], orjson.dumps(data))
            self._bus.publish([frame])


def workspace_of(run: Run) -> Path:
    """Return the folder in which the run's tools act."""
    return Path(run.settings.workspace)
