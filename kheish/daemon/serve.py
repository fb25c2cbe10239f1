"""Serving, in the order of time: start, serve, stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from kheish import resources
from kheish.api.foreign.mounts import MOUNTS
from kheish.api.http import app
from kheish.api.operations import OPERATIONS
from kheish.auth import audit
from kheish.config import Config, apply_environment, split_bind
from kheish.daemon import boot, index_backfill, logs, loops, presence, shutdown, wiring
from kheish.daemon.connections import Connection
from kheish.daemon.listening import Serving, allow_many_files, listen
from kheish.daemon.reactors.base import Hearing
from kheish.daemon.reactors.tasks import Tasks
from kheish.daemon.spawning import spawn
from kheish.daemon.wiring import Daemon
from kheish.domain import events, routes
from kheish.errors import Conflict, FileRefused, KheishError, StoreFailed, Unavailable, WorkspaceNotAllowed
from kheish.jobs import probing
from kheish.runtime.mcp import setup
from kheish.store import door
from kheish.store.edits import definitions
from kheish.store.git import root_format
from kheish.store.lock import RootLock
from kheish.store.log import outage
from kheish.store.pipes import ChildGone

log = logging.getLogger(__name__)

PLAIN = Serving()
_LAST_COMMITS = 5  # at a stop: each may show the scribe something to restore


def run(
    root: Path,
    *,
    bind: str | None = None,
    workspace: Path | None = None,
    allow_bypass: bool = False,
    allow_unauthenticated: bool = False,
    serving: Serving = PLAIN,
) -> int:
    """Serve a state root until SIGTERM or SIGINT; returns the exit code. Raises KheishError where it cannot start."""
    kept = logs.start()
    root = root.resolve()
    root_format.open_root(root)
    config = _config(root)
    host, port = split_bind(bind or config.bind)
    serving.check(host)
    allow_many_files()
    # The log's thread must not wait 5 ms for the interpreter while the loop is busy: every answer waits for it.
    sys.setswitchinterval(0.0005)
    with RootLock(root), listen(host, port) as listening:
        _bring_along(root)
        import uvloop

        options = {"allow_bypass": allow_bypass, "allow_unauthenticated": allow_unauthenticated}
        return uvloop.run(_serve(root, config, listening, serving, kept, workspace=workspace, **options))


def _bring_along(root: Path) -> None:
    """Bring a root of an older format to this one, in a child (this process keeps pygit2 out). Raises Conflict."""
    if root_format.read_format(root).version < root_format.FORMAT:
        command = [sys.executable, "-m", "kheish.store.git.migration", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise Conflict(done.stderr.strip() or f"The migration exited with {done.returncode}; restart the daemon.")
        steps = ", ".join(done.stdout.splitlines()) or "an interrupted migration was completed"
        log.warning("the state root was migrated: %s", steps)


def _config(root: Path) -> Config:
    """Return kheish.yaml with the environment over it; the defaults where it cannot be read, which is a problem later.
    Raises Invalid for a variable that is none."""
    found = Config()
    with contextlib.suppress(OSError, FileRefused):
        raw = door.begin(root, "kheish.yaml")
        found = definitions.parse(Config, raw, "kheish.yaml").value or found
    return apply_environment(found, os.environ)


class _Server(uvicorn.Server):
    """uvicorn's, but signals are ours: the daemon drains before its connections close."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    root: Path,
    config: Config,
    listening: socket.socket,
    serving: Serving,
    kept: logs.Kept,
    **options: Any,
) -> int:
    tried = asyncio.create_task(probing.probe_async())
    daemon = wiring.make(root, config, secure=serving.secure, logs=kept.lines, sandbox=probing.UNTRIED, **options)
    kept.formatter.scrub = lambda: daemon.state.scrub
    daemon.facts.url = serving.url(*listening.getsockname()[:2])
    daemon.facts.certificate = str(serving.certificate.resolve()) if serving.certificate else None
    daemon.facts.key = serving.key.resolve() if serving.key else None
    # All now: each takes a while to start, and the second would wait for the first's answer.
    daemon.facts.sandbox, *_ = await asyncio.gather(tried, daemon.store.git.start(), daemon.store.scribe.start())
    server = _Server(
        uvicorn.Config(
            app.build(daemon.parts, OPERATIONS, MOUNTS),
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            server_header=False,
            proxy_headers=serving.behind_proxy,  # else any caller of this machine could choose its own address
            backlog=2048,
            ssl_certfile=serving.certificate,
            ssl_keyfile=serving.key,
        )
    )
    answering = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    background: list[asyncio.Task[None]] = []
    try:
        if await daemon.upkeep.start():
            _announce(root, daemon)
            await _until_stopped(daemon, stopping, [answering, asyncio.create_task(daemon.upkeep.decided())])
            if stopping.is_set():
                return 0
            await start(daemon, background)
        else:
            await start(daemon, background)
            _announce(root, daemon)
        await _suggest(daemon)
        await _until_stopped(daemon, stopping, [answering, *background])
        return 1 if daemon.store.failed.is_set() else 0
    finally:
        await stop(daemon, background)
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await answering


async def start(daemon: Daemon, background: list[asyncio.Task[None]]) -> None:
    """Replay the log, find open work, take up definitions, and begin to act; add the tasks that never end to
    `background`."""
    state, facts = daemon.state, daemon.facts

    def progress(what: str) -> None:
        facts.starting = f"The daemon is starting: {what}."

    booted, before, found = await boot.recover(state.root, daemon.store.scribe, daemon.store.git, progress)
    state.n = state.durable_n = state.journaled_n = booted.next_n - 1
    await boot.sweep(daemon.store.git, found)
    await boot.index(state.root, daemon.store.scribe, daemon.store.git, before, found, booted, progress)
    daemon.store.batches.recovered(found.groups, booted.committed, booted.changes)
    await boot.find_stream_ends(state)
    await boot.paused(state, booted)
    daemon.store.next_cut.sign = (await asyncio.to_thread(audit.signer, audit.key_path(daemon.environ))).head
    daemon.store.log.open(booted.next_n)
    await daemon.watcher.start()
    facts.unread = (await daemon.store.git.request("hold"))["held"] is not None
    assert daemon.agent.mcp is not None
    await setup.add_packages(
        daemon.agent.mcp.servers, daemon.problems
    )  # before Playbooks are checked, which name tools
    await daemon.auth.secrets.start()  # first, for no Definition that holds one may be committed
    if not facts.unread:
        await daemon.parts.stacks.finish()
    await daemon.adopting.start(held=facts.unread)
    if not facts.unread:
        await daemon.parts.stacks.finish_labels()
    await asyncio.to_thread(daemon.auth.broker.remember)
    loops.learn_secrets(daemon)
    await boot.open_work(state, booted, progress)
    for where, reason in booted.damaged:
        daemon.problems.add("damaged_journal", where, reason)
    facts.recovered, facts.resumed = booted.groups, booted.resumed
    loops.tell_watching(daemon)
    for reactor in daemon.reactors:
        await reactor.prepare()
    daemon.store.batches.on_entries.append(Hearing(daemon.reactors, daemon.guard))
    background += [daemon.store.committer.start(), asyncio.create_task(loops.keep_scribe(daemon))]
    started = events.DaemonStarted(
        version=resources.version(), recovered=booted.groups, repaired_bytes=booted.cut_bytes
    )
    state.append(started.on())
    loops.put_back(daemon, facts.put_back)
    await state.durable()
    if booted.restored:
        await boot.pause_restored(state)
    await daemon.playbook_tags.start()
    await daemon.backup.start()
    gc.collect()
    gc.freeze()  # what is there now stays: collections need not look at it again
    await asyncio.to_thread(outage.over, state.root)
    facts.starting = None
    for reactor in daemon.reactors:
        await daemon.guard.awaiting(reactor, reactor.start())
    spawn(index_backfill.mark_commits(daemon))
    loop_tasks = (loops.keep_time(daemon), loops.keep_watch(daemon), daemon.backup.run(), daemon.upkeep.run())
    background += [asyncio.create_task(one) for one in loop_tasks]


def _announce(root: Path, daemon: Daemon) -> None:
    """Publish the daemon's address in a file for other processes, and print it in one line."""
    presence.note(root, daemon.facts)
    print(f"kheish ready {daemon.facts.url}", flush=True)  # noqa: T201 - the line that shapes.md promises


async def _suggest(daemon: Daemon) -> None:
    """Log what is missing for the workspace and the default route; without any route, suggestions."""
    try:
        await daemon.parts.workspaces.presumed()
    except WorkspaceNotAllowed as error:
        log.warning("%s", error.detail)
    definitions = daemon.state.definitions
    if definitions.by_kind["routes"]:
        if missing := _missing(daemon):
            log.warning("%s", missing)
        return
    from kheish.offline import suggesting

    for line in await asyncio.to_thread(suggesting.say):
        log.warning("%s", line)


def _missing(daemon: Daemon) -> str | None:
    """Return the reason why sessions that choose no route cannot run; None if they can."""
    definitions = daemon.state.definitions
    try:
        route_id, _ = routes.choose(None, definitions.config.default_route, definitions.routes)
    except KheishError as error:
        return f"There is no default route, so that each session must name one. {error.detail}"
    return routes.readiness(route_id, definitions.routes[route_id], daemon.environ, daemon.state.slots)


async def _until_stopped(daemon: Daemon, stopping: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for a signal, a failed log, or the end of a task that must not end."""
    waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(daemon.store.failed.wait())]
    done, _ = await asyncio.wait([*waits, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    for task in done:
        error = task.exception()
        if task in waits or error is None:
            continue
        if isinstance(error, StoreFailed):
            log.critical("%s", error.detail)
            daemon.state.fail(error)
        else:
            log.critical("a task of the daemon ended", exc_info=error)
        daemon.store.failed.set()


async def stop(daemon: Daemon, background: list[asyncio.Task[None]]) -> None:
    """Drain: no new step, streams end, tools get their grace, a last commit is made."""
    log.info("stopping")
    daemon.facts.starting = "The daemon is stopping."
    daemon.parts.closing.begin()
    await daemon.worker.drain(daemon.state.definitions.config.shutdown_grace)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await daemon.watcher.stop()
    await _have_scribe(daemon)
    if await asyncio.to_thread(shutdown.is_asked_to_end_jobs, daemon.state.root):
        await _end_jobs(daemon)
    for reactor in reversed(daemon.reactors):
        await reactor.close()
    if not daemon.store.failed.is_set() and daemon.store.log.is_open:
        daemon.state.append(events.DaemonStopped(reason="asked").on())
        await daemon.state.durable()
        await _have_scribe(daemon)  # that one was killed a moment ago may be seen only now
        if not await _commit_rest(daemon, 30.0 if daemon.facts.held is None else 2.0):
            log.warning("the last commit failed; the log has the uncommitted entries")
    daemon.state.waiting.let_readers_go(Unavailable("The daemon is stopping."))
    await daemon.store.committer.close()
    daemon.store.log.close()
    await daemon.store.scribe.close()
    await daemon.store.git.close()
    await daemon.agent.executor.aclose()
    daemon.agent.here.close()
    if daemon.agent.workers is not None:
        await daemon.agent.workers.close()
    _leave(daemon)


async def _commit_rest(daemon: Daemon, timeout: float) -> bool:
    """Commit until nothing is left, including what the scribe restores and sets aside because of the last commit."""
    store = daemon.store
    for _ in range(_LAST_COMMITS):
        if not await store.committer.flush(timeout):
            return False
        with contextlib.suppress(ChildGone):
            await store.scribe.request("start")  # the answer follows everything that it was asked for before
        await daemon.state.durable()
        if not store.next_cut.is_due:
            return True
    return False


async def _have_scribe(daemon: Daemon) -> None:
    """Restart a dead scribe: pending readers need the index, the last commit needs the journals."""
    is_gone = daemon.facts.scribe_failed or not daemon.store.scribe.alive
    if is_gone and daemon.store.log.is_open:
        await loops.revive_scribe(daemon)


def _leave(daemon: Daemon) -> None:
    """Update the files that the next start and other processes read. A disk that failed keeps the old ones."""
    root = daemon.state.root
    try:
        (root / ".kheish" / "daemon.json").unlink(missing_ok=True)
        if daemon.state.n:  # it did not end before it knew
            boot.note(root, daemon.state.durable_n)
    except OSError as error:
        log.warning("%s cannot be written: %s", error.filename, error.strerror)


async def _end_jobs(daemon: Daemon) -> None:
    """End running commands, and wait until the ends of background ones are journaled.

    A `bash` call gets its result at the next start.
    """
    grace = daemon.state.definitions.config.shutdown_grace
    log.info("jobs ended: %d", await shutdown.end_jobs(daemon.agent.here, grace))
    if daemon.agent.workers is not None:
        log.info("jobs ended on workers: %d", await shutdown.end_far_jobs(daemon.agent.workers, grace))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.gather(*(each.settled() for each in daemon.reactors if isinstance(each, Tasks)))
