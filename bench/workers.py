"""A resident worker, by a loopback sshd and by a Ray cluster on loopback: its tool calls over those here, and by ssh
the way of a workspace there and back. On loopback, only our own part is measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bench import processes
from bench.report import Report, Row, median, quantile
from kheish.beneath import Door
from kheish.jobs.runner import Jobs
from kheish.runtime.executor import Executor, Local
from kheish.runtime.tools import files, shell
from kheish.runtime.tools.base import Context
from kheish.runtime.tools.shell import SandboxSettings
from kheish.runtime.workers import returning
from kheish.runtime.workers.carrier import Carrier
from kheish.runtime.workers.cluster.carrier import ray
from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.copies import Copy
from kheish.runtime.workers.depot import Depot
from kheish.runtime.workers.jobs import Routed
from kheish.runtime.workers.placed import Placed
from kheish.runtime.workers.pool import Terms, Workers
from kheish.runtime.workers.ssh import Ssh
from tests.support import ray_cluster, sshd

_ROUNDS = 100
#: the workspace that is carried, the files that change in it, and how often they do
_FILES, _BYTES, _CHANGED, _TIMES = 5000, 10_400, 10, 5
_SANDBOX = SandboxSettings(mode="off", available=False)
_BASH = shell.make(lambda: _SANDBOX)


def measure() -> Report:
    """Calls here and there in turns, so that both meet the same machine."""
    if sshd.SSHD is None:
        report = Report("workers")
        report.notes.append(sshd.MISSING)
        return report
    with processes.scratch() as folder, sshd.serving(folder / "sshd") as server, contextlib.ExitStack() as stack:
        carriers: dict[str, Carrier] = {"ssh": Ssh("far", config=server.config)}
        if ray_cluster.IS_INSTALLED:
            cluster = stack.enter_context(ray_cluster.cluster())
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(cluster.token)
            carriers["ray"] = ray(cluster.address, {"there": 0.1}, home="home-bench", worker="ray")
        return asyncio.run(_measure(folder, carriers))


async def _measure(folder: Path, carriers: Mapping[str, Carrier]) -> Report:
    workers = Workers(carriers.__getitem__, "home-bench", lambda _: Terms("off"))
    executor = Placed(Local(), workers, lambda: _SANDBOX)
    (folder / "workspace").mkdir()
    (folder / "workspace" / "a.txt").write_text("line\n" * 100)
    context = Context(
        session_id="s", run_id="run_1", call_id="call_1", agent_id="agent_1", workspace=folder / "workspace", key="k",
        state=cast(Any, SimpleNamespace(find=lambda *_: None)), jobs=Routed(Jobs(folder / "jobs"), workers.jobs),
        output=lambda _: None,
    )  # fmt: skip
    report = Report("workers")
    for worker in carriers:
        began = time.monotonic()
        await _read(executor, replace(context, worker=worker), 0)
        connected = time.monotonic() - began
        report.notes.append(f"{worker}: the first call, with the start of the worker: {connected:.1f} s.")
        for what, call in (("read_file, 100 lines", _read), ("bash, `true`", _bash)):
            here, there = await _turns(executor, context, call, worker)
            for name, q in (("p50", 0.5), ("p99", 0.99)):
                report.rows.append(
                    Row(
                        what=f"{what} by {worker}, {name}",
                        measured=quantile(there, q),
                        unit="ms",
                        floor=quantile(here, q),
                        floor_is="the same call here",
                    )
                )
            more = median(there) - median(here)
            report.details[f"{what} by {worker}"] = {"here": here, "there": there, "more": more}
    report.rows += await _carry(workers.link("ssh"), folder)
    await workers.close()
    return report


async def _turns(
    executor: Executor, context: Context, call: Callable[[Executor, Context, int], Awaitable[None]], far: str
) -> tuple[list[float], list[float]]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(_ROUNDS):
        for kept, worker in zip(times, (None, far), strict=True):
            began = time.perf_counter()
            await call(executor, replace(context, worker=worker), number)
            kept.append((time.perf_counter() - began) * 1000)
    return times


async def _read(executor: Executor, context: Context, number: int) -> None:
    await executor.call(files.READ_FILE, files.ReadFile(path="a.txt"), context)


async def _bash(executor: Executor, context: Context, number: int) -> None:
    arguments = shell.Bash(command="true")
    given = replace(context, key=f"{context.worker}-{number}")
    given = replace(given, note=await executor.plan(_BASH, arguments, given))
    await executor.call(_BASH, arguments, given)
    await context.jobs.drop(str(given.note["job"]))


async def _carry(link: Connection, folder: Path) -> list[Row]:
    """Carry a workspace there and back as a run does: whole, and then again with a few changed files."""
    workspace = folder / "large"
    for number in range(_FILES):
        path = workspace / f"{number % 50}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(_BYTES))
    copy = Copy(Depot(folder / "depots" / "ws-large-far.git"), "ws-large", workspace)
    times: dict[str, list[float]] = {"there": [], "back": []}
    for number in range(_TIMES + 1):
        for changed in range(_CHANGED if number else 0):
            (workspace / f"{changed}" / f"{changed}.bin").write_bytes(os.urandom(_BYTES))
        began = time.perf_counter()
        found = await copy.step(link, "open")
        commit = await copy.snapshot(lambda workspace, depot, argv: argv, f"run_{number}")
        placed = await copy.send(link, commit, found["tip"], f"run_{number}", [])
        times["there"].append(time.perf_counter() - began)
        for changed in range(_CHANGED):
            (Path(placed["folder"]) / f"{changed}" / f"{changed}.bin").write_bytes(os.urandom(_BYTES))
        began = time.perf_counter()
        result = await copy.step(link, "result")
        await copy.fetch(link, result)
        back = await asyncio.to_thread(returning.apply, copy.depot, Door(workspace), result["tip"], result["commit"])
        await copy.step(link, "settle", commit=result["commit"], pack=result["pack"], run=f"run_{number}")
        times["back"].append(time.perf_counter() - began)
        assert len(back.written) == _CHANGED, back
    size = f"a workspace of {_FILES} files, {_FILES * _BYTES / 1e6:.0f} MB"
    return [
        Row(what=f"{size}: to the worker, first", measured=times["there"][0], unit="s"),
        Row(what=f"{size}: to the worker, {_CHANGED} files changed", measured=median(times["there"][1:]), unit="s"),
        Row(what=f"{size}: {_CHANGED} changed files back", measured=median(times["back"]), unit="s"),
    ]
