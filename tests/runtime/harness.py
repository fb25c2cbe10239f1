"""Runs driven by the real worker, loop, tools and scripted driver, over a State whose log is played in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kheish.auth.broker import Broker
from kheish.auth.vault import Vault
from kheish.domain import runs
from kheish.domain.nouns import NOUNS
from kheish.domain.permissions.rules import PermissionsFile, SandboxFacts
from kheish.domain.runs import Run
from kheish.jobs.runner import Jobs
from kheish.runtime.agent import Agent
from kheish.runtime.executor import Local
from kheish.runtime.gates import Gates
from kheish.runtime.skills.copies import Copies
from kheish.runtime.skills.service import Skills
from kheish.runtime.tools import registry
from kheish.runtime.tools.base import Tool
from kheish.runtime.tools.shell import SandboxSettings
from kheish.runtime.worker import Worker
from kheish.state import loading
from kheish.store.bus import Bus, Frame
from kheish.store.log.wal import Group
from tests.support.remembering import memory
from tests.support.stateful import Played


async def nowhere(worker: str) -> Path | None:
    """The folder of skills on a worker of a daemon that has none."""
    raise AssertionError(worker)


class Live(Played):
    """Played, where each group becomes durable at the next turn of the loop, and the worker then looks."""

    def __init__(self, root: Path, workspace: Path, **options: Any) -> None:
        self.workspace = workspace
        self.patience = 20.0  # seconds
        self.is_held = False  # nothing becomes durable
        self.hold_at: bytes | None = None  # from an entry with this text on
        super().__init__(root, **options)
        self.bus = Bus()
        self.frames: list[Frame] = []
        self.bus.listen(self.frames.extend)
        self.start()

    def start(self) -> None:
        sandbox = SandboxSettings(mode="off", available=False, read_only=(), hide=())
        self.tools: Mapping[str, Tool] = registry.builtin(lambda: sandbox)
        self.agent = Agent(
            state=self.state,
            bus=self.bus,
            executor=Local(),
            tool_source=lambda run: self.tools,
            jobs=(jobs := Jobs(self.root / "jobs")),
            here=jobs,
            gates=Gates(),
            broker=Broker(self.state, Vault(), {}),
            sandbox=lambda: SandboxFacts(mode="off", available=False),
        )
        self.agent.memory = memory(self.state)
        self.agent.skills = Skills(self.state, Copies(self.root / "copies"), lambda: False, nowhere)
        self.worker = Worker(self.agent)

    def submit(self, group: Group) -> None:
        super().submit(group)
        self.is_held = self.is_held or (self.hold_at is not None and self.hold_at in group.body)
        asyncio.get_running_loop().call_soon(self.settle)

    def let_go(self) -> None:
        """What was held becomes durable."""
        self.is_held, self.hold_at = False, None
        self.settle()

    def settle(self) -> None:
        """Make durable, and let the worker look."""
        if not self.is_held:
            self.flush()
            self.worker.look()

    def reborn(self) -> Live:
        """The daemon killed and started again: memory is gone, journals are read."""
        self.flush()
        again = Live(self.root, self.workspace)
        again.state.n = again.state.durable_n = again.state.journaled_n = self.state.n
        again.state.definitions = self.state.definitions
        again.lines = self.lines
        for part in self.state.sessions.values():
            again.state.adopt(loading.load(self.root, NOUNS, part.session_id, part.path))
        return again

    def allow(self, *tools: str, **more: Any) -> None:
        """Rules that allow some tools."""
        rules = [{"tool": tool, "decision": "allow"} for tool in tools]
        self.state.definitions.permissions = PermissionsFile.model_validate({"rules": rules, **more})

    def script(self, *turns: dict[str, Any], route: str = "local", **fields: Any) -> None:
        """Put a scripted route in force."""
        self.route(route, script={"turns": list(turns), **fields.pop("script", {})}, **fields)

    async def rest(self, run_id: str) -> Run:
        """Wait until the run has ended, or waits for a person."""
        self.settle()
        await self.until(lambda: self.run_of(run_id).status in runs.FINAL | runs.WAITING)
        await self.until(lambda: not self.worker.driving)
        return self.run_of(run_id)

    def run_of(self, run_id: str) -> Run:
        return self.state.get(Run, run_id)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(self.patience):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.001)

    async def ask(self, text: str = "do it", **more: Any) -> Run:
        """Submit an input, and wait until its run has ended or waits."""
        return await self.rest(self.submit_run(text, **more).run_id)

    def results(self) -> list[tuple[bool, str | None, str]]:
        """Of each finished call: whether it is an error, its code, its content."""
        return [(data["is_error"], data["code"], data["content"]) for data in self.data("tool.finished")]

    async def close(self) -> None:
        await self.worker.drain(5.0)
        self.agent.here.close()
        self.index.close()


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    """A scripted turn with one call."""
    return {"tool_calls": [{"name": tool, "arguments": arguments}]}


@asynccontextmanager
async def living(folder: Path, **settings: Any) -> AsyncIterator[Live]:
    """A session `s` over a workspace."""
    root, workspace = folder / "state", folder / "work"
    root.mkdir()
    workspace.mkdir()
    live = Live(root, workspace)
    live.route()
    live.session(workspace=workspace, **settings)
    live.settle()
    try:
        yield live
    finally:
        await live.close()
