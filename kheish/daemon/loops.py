"""What happens again and again, and what reacts: each a few lines that call a domain function."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.auth import redaction
from kheish.daemon import boot
from kheish.domain import approvals, events, questions, routes
from kheish.domain.encoding import Recorded
from kheish.domain.state import State
from kheish.errors import Damaged, KheishError, NotFound
from kheish.store import template
from kheish.store.files import free_bytes
from kheish.store.wal import Recovered

if TYPE_CHECKING:
    from kheish.daemon.wiring import Daemon

log = logging.getLogger(__name__)

LOW_SPACE = 64 * 1024 * 1024  # bytes: below this new work is refused, so that what runs can still be written down
TICK = 1.0


def entries(daemon: Daemon, batch: Sequence[Recorded]) -> None:
    """After each durable batch: what was resumed goes on, and the worker looks for what can be taken."""
    for item in batch:
        match item.entry.event:
            case events.DaemonResumed():
                daemon.agent.gates.wake()
            case events.DefinitionChanged(definition="routes"):
                learn_secrets(daemon)
    daemon.worker.look()


def learn_secrets(daemon: Daemon) -> None:
    """From now on, what routes refer to by `env:NAME` is scrubbed from every line."""
    secrets = {"token": template.ensure_token(daemon.state.root)}
    for route in daemon.state.definitions.routes.values():
        value = routes.credential(route, daemon.environ)
        if value and route.auth_ref:
            secrets[route.auth_ref] = value
    daemon.state.scrub = redaction.scrubber(secrets)


def on_scribe(daemon: Daemon, notice: dict[str, Any]) -> None:
    """What the scribe says unasked."""
    match notice["notice"]:
        case "journaled":
            daemon.state.made_journaled(notice["n"])
        case "restored":
            put_back(daemon, notice["paths"])
        case "damaged":
            log.error("journal %s: %s", notice["journal"], notice["detail"])
            daemon.problems.add("damaged_journal", notice["journal"], notice["detail"])
        case "index_lost":
            log.warning("the index was lost (%s); it is made again", notice["detail"])
            _spawn(_reindex(daemon))
        case "failed":
            log.error("the scribe could not %s: %s", notice["op"], notice["error"])
            daemon.problems.add("scribe_failed", "", f"{notice['op']}: {notice['error']['detail']}")
            daemon.facts.scribe_failed = True


def put_back(daemon: Daemon, paths: Sequence[str]) -> None:
    """The daemon's files were changed by somebody, and are restored."""
    if paths:
        log.warning("put back: %s", ", ".join(paths[:10]))
        daemon.state.append(events.FilesPutBack(paths=tuple(paths[:100])).on())


def on_git(daemon: Daemon, answer: dict[str, Any]) -> None:
    """What the committer notices: a hold, an error, files put back."""
    daemon.facts.held = answer.get("held")
    if answer.get("short"):
        daemon.store.scribe.send_nowait("check", paths=answer["short"])
    if answer.get("held"):
        log.info("commits are held: %s", answer["held"])
    if answer.get("error"):
        log.error("commit: %s", answer["error"])
        daemon.problems.add("commit_failed", "", str(answer["error"]))
    if answer.get("put_back"):
        put_back(daemon, answer["put_back"])


def committed(daemon: Daemon, n: int, commit: str) -> None:
    """A commit was made."""
    daemon.facts.commit, daemon.facts.committed_n, daemon.facts.held = commit, n, None
    daemon.problems.clear("commit_failed")
    daemon.store.pipeline.committed(n, commit)


def changed(daemon: Daemon, paths: frozenset[str]) -> None:
    """A person's files have settled."""
    _spawn(_take(daemon, paths))


_tasks: set[asyncio.Task[None]] = set()


def _spawn(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)  # the loop itself keeps no strong reference
    task.add_done_callback(_tasks.discard)


async def _reindex(daemon: Daemon) -> None:
    """Make the index again from journals; until then the daemon is not ready, rather than half right."""

    def progress(what: str) -> None:
        daemon.facts.starting = f"The index is made again: {what}."

    progress("reading journals")
    n = daemon.state.durable_n
    before = {"n": 0, "commit": None, "last": daemon.facts.commit}
    booted = boot.Booted(next_n=n + 1, groups=0, cut_bytes=0)
    try:
        await boot.index(
            daemon.state.root, daemon.store.scribe, daemon.store.git, before, Recovered(), booted, progress
        )
    finally:
        daemon.facts.starting = None
    for where, reason in booted.damaged:
        daemon.problems.add("damaged_journal", where, reason)


async def _take(daemon: Daemon, paths: frozenset[str]) -> None:
    try:
        await daemon.answers.take(frozenset(path for path in paths if path.startswith("pending/")))
        await daemon.taking.take(frozenset(path for path in paths if not path.startswith("pending/")))
    except KheishError as error:
        log.error("what was edited could not be taken up: %s", error.detail)


async def _expire(state: State, now: str) -> None:
    """Close what has waited too long; sessions that are not loaded are found by the index."""
    for noun, cls in (("approval", approvals.Approval), ("question", questions.Question)):
        for id in await asyncio.to_thread(state.index.overdue, noun, now):
            with contextlib.suppress(NotFound, Damaged):
                await state.load_for(cls, id)
    approvals.expire(state, now)
    questions.expire(state, now)


async def keep_time(daemon: Daemon) -> None:
    """Every second: what has waited too long expires; disk space is watched; processes that ended start again."""
    while True:
        await asyncio.sleep(TICK)
        state = daemon.state
        now = ids.stamp(state.clock())
        await _expire(state, now)
        free = await asyncio.to_thread(free_bytes, state.root)
        state.low_space = (
            f"Only {free // 1024**2} MiB are free where the state root is; new work is refused below "
            f"{LOW_SPACE // 1024**2} MiB. Free some space."
            if free < LOW_SPACE
            else None
        )
        state.evict()
        if daemon.facts.scribe_failed or not daemon.store.scribe.alive:
            log.warning("the scribe ended or failed; it is started again, and finds in the log what is missing")
            daemon.facts.scribe_failed = False
            await daemon.store.pipeline.revive()
            daemon.problems.clear("scribe_failed")
        await asyncio.to_thread(boot.note, state.root, state.durable_n)
