"""Periodic work, and reactions to reports of the daemon's services; each is a few lines that call a function."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.auth import redaction, stored_account
from kheish.authoring import sources
from kheish.daemon import boot, index_backfill, presence
from kheish.daemon.spawning import spawn
from kheish.domain import events, routes
from kheish.domain.mcp import tokens
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import KheishError
from kheish.store import lock
from kheish.store.files import LOW_SPACE, free_bytes
from kheish.store.log.wal import Recovered
from kheish.store.pipes import ChildGone

if TYPE_CHECKING:
    from kheish.daemon.wiring import Daemon

log = logging.getLogger(__name__)

TICK = 1.0
PACKED, TAGS = ".git/packed-refs", ".git/refs/tags/playbook/"


async def revive_scribe(daemon: Daemon) -> None:
    """Restart a scribe that ended or failed.

    If that fails (files that change under it, a full disk), a retry follows in a second. If a stop cuts the restart
    off, the scribe counts as failed: the stop restarts it.
    """
    log.warning("the scribe ended or failed; restarting it: it recovers missing entries from the log")
    daemon.facts.scribe_failed = False
    try:
        is_whole = await daemon.store.batches.revive()
    except KheishError as error:
        log.error("the scribe cannot be started: %s", error.detail)
        daemon.facts.scribe_failed = True
        daemon.problems.add("scribe_failed", "", error.detail)
    except BaseException:
        daemon.facts.scribe_failed = True
        raise
    else:
        daemon.problems.clear("scribe_failed")
        if not is_whole:
            log.warning("the index is incomplete; rebuilding it")
            spawn(reindex(daemon))


def learn_secrets(daemon: Daemon) -> None:
    """Scrub the vault's values, and what files refer to by `env:NAME`, from every line from now on."""
    secrets = {"token": daemon.facts.token, **daemon.auth.vault.values()}
    for slot, text in daemon.auth.vault.values().items():
        login = tokens.read(slot, text) or stored_account.read(slot, text)
        secrets |= {f"{slot}.{name}": one for name, one in login.secrets.items()} if login is not None else {}
    for route in daemon.state.definitions.routes.values():
        value = routes.from_environment(route.auth_ref or "", daemon.environ)
        if value and route.auth_ref:
            secrets[route.auth_ref] = value
    known = daemon.state.definitions.by_kind
    for user in (*known["mcp"].values(), *known["hooks"].values(), *known["outputs"].values()):
        given = {slot: routes.from_environment(slot, daemon.environ) for slot in user.slots}
        secrets |= {slot: one for slot, one in given.items() if one}
    if secrets != daemon.facts.secrets:  # another scrubber has all Definitions looked through at the next save
        daemon.facts.secrets = secrets
        daemon.state.scrub = redaction.scrubber(secrets)


def on_scribe(daemon: Daemon, notice: dict[str, Any]) -> None:
    """Handle a notice of the scribe."""
    match notice["notice"]:
        case "journaled":
            daemon.state.made_journaled(notice["n"])
        case "held":
            daemon.holding.held(notice["reason"])
        case "restored":
            if notice["aside"]:
                daemon.store.next_cut.mend(notice["aside"])
            put_back(daemon, notice["paths"])
        case "damaged":
            log.error("journal %s: %s", notice["journal"], notice["detail"])
            daemon.problems.add("damaged_journal", notice["journal"], notice["detail"])
            daemon.store.committer.leave_out(notice["journal"])
        case "index_lost":
            log.warning("the index was lost (%s); rebuilding it", notice["detail"])
            spawn(reindex(daemon))
        case "failed":
            log.error("the scribe could not %s: %s", notice["op"], notice["error"])
            daemon.problems.add("scribe_failed", "", f"{notice['op']}: {notice['error']['detail']}")
            daemon.facts.scribe_failed = True


def put_back(daemon: Daemon, paths: Sequence[str]) -> None:
    """Report and restore files of the daemon that another process changed."""
    if paths and not daemon.store.log.is_open:
        daemon.facts.put_back += paths  # which event numbers are free, is not known yet
    elif paths:
        log.warning("put back: %s", ", ".join(paths[:10]))
        daemon.state.append(events.FilesPutBack(paths=tuple(paths[:100])).on())


def on_git(daemon: Daemon, answer: dict[str, Any]) -> None:
    """Handle a notice of the committer: a hold, an error, restored files."""
    if doubted := [*answer.get("short", ()), *answer.get("doubted", ())]:
        log.warning("files differ from the log; repairing them: %s", ", ".join(doubted[:5]))
        with contextlib.suppress(ChildGone):  # a new one looks at all that the log has
            daemon.store.scribe.send_nowait("check", paths=doubted)
    elif answer.get("held"):
        daemon.holding.held(answer["held"])
    if answer.get("error"):
        log.error("commit: %s", answer["error"])
        daemon.problems.add("commit_failed", "", str(answer["error"]))
    if answer.get("put_back"):
        put_back(daemon, answer["put_back"])


def committed(daemon: Daemon, n: int, commit: str, time: int) -> None:
    """Handle a new commit."""
    daemon.facts.commit, daemon.facts.committed_n = commit, n
    daemon.problems.clear("commit_failed")
    daemon.store.batches.committed(n, commit, time)


def changed(daemon: Daemon, paths: frozenset[str]) -> None:
    """Adopt a person's files that have settled."""
    spawn(daemon.holding.changed(paths))


def refs(daemon: Daemon, paths: frozenset[str]) -> None:
    """Look at tags, since branches or tags have moved: versions of Playbooks may be among them."""
    if any(path == PACKED or path.startswith(TAGS) for path in paths):
        spawn(look_at_tags(daemon))


async def look_at_tags(daemon: Daemon) -> None:
    """Compare the tags of Playbook versions with the ledger."""
    try:
        await daemon.playbook_tags.look()
    except KheishError as error:  # the watcher looks again every few seconds
        log.warning("the tags cannot be read: %s", error.detail)


async def reindex(daemon: Daemon) -> None:
    """Make the index again from journals; until then the daemon is not ready, rather than half right. Where the scribe
    ends meanwhile, it is done once more when there is another."""

    def progress(what: str) -> None:
        daemon.facts.starting = f"The index is being rebuilt: {what}."

    progress("reading journals")
    n = daemon.state.durable_n
    before = {"n": 0, "commit": None, "whole": False, "last": daemon.facts.commit}
    booted = boot.Booted(next_n=n + 1, groups=0, cut_bytes=0)
    store = daemon.store
    while True:
        try:
            await boot.index(daemon.state.root, store.scribe, store.git, before, Recovered(), booted, progress)
            break
        except ChildGone:
            if not store.scribe.alive:
                return
            await store.committer.revive()
            await asyncio.sleep(TICK)  # where it cannot be started either
        except BaseException:
            daemon.facts.starting = None
            raise
    daemon.facts.starting = None
    await look_at_tags(daemon)
    await index_backfill.mark_commits(daemon)
    for where, reason in booted.damaged:
        daemon.problems.add("damaged_journal", where, reason)


async def keep_watch(daemon: Daemon) -> None:
    """Check whether a person's git is at work, what it did when it is over, and that a git worker exists at all."""
    while True:
        await asyncio.sleep(daemon.holding.every)
        try:
            found = await daemon.store.git.request("look")
        except ChildGone:
            await daemon.store.committer.revive()
            continue
        except KheishError as error:
            log.warning("the state root cannot be checked: %s", error.detail)
            continue
        if found["held"]:
            daemon.holding.held(found["held"])
        else:
            put_back(daemon, daemon.holding.looked(found))
            if found.get("grown"):
                with contextlib.suppress(ChildGone):
                    daemon.store.scribe.send_nowait("check", paths=found["grown"])
            await daemon.holding.over()
            if daemon.memory.is_unread:
                await daemon.memory.start()
            if daemon.facts.unread:
                daemon.facts.unread = False
                found = await asyncio.to_thread(sources.read_all, daemon.state.root)
                await take(daemon, frozenset({*found, *daemon.adopting.sources}))


async def take(daemon: Daemon, paths: frozenset[str]) -> None:
    try:
        await daemon.answers.take(frozenset(path for path in paths if path.startswith("pending/")))
        await daemon.inbox.take(frozenset(path for path in paths if path.startswith("inbox/")))
        await daemon.auth.secrets.take(frozenset(path for path in paths if path.startswith("secrets/")))
        await daemon.memory.take(path for path in paths if path.startswith("memory/"))
        elsewhere = ("pending/", "inbox/", "secrets/", "memory/")
        await daemon.adopting.take(frozenset(path for path in paths if not path.startswith(elsewhere)))
    except KheishError as error:
        log.error("edits could not be adopted: %s", error.detail)


def waits_for_workspace(daemon: Daemon, run: Run, is_missing: bool) -> None:
    """Report that a run waits for its folder, or no longer: it is not on this machine, as after a restore."""
    path = f"{daemon.state.get(Session, run.session_id).path}/session.yaml"
    if not is_missing:
        return daemon.problems.clear("workspace_missing", path)
    return daemon.problems.add(
        "workspace_missing",
        path,
        f"The run {run.run_id} waits because its workspace {run.settings.workspace} is missing. Restore or create the "
        "folder, and the run continues; or cancel it, and start another in a session with another workspace.",
    )


def tell_watching(daemon: Daemon) -> None:
    """Report how changes of files are found, and what to do if the system gives no watches (any more)."""
    daemon.facts.watching = daemon.watcher.mode
    if daemon.watcher.reason is not None:
        daemon.problems.add("files_polled", "", POLLED.format(reason=daemon.watcher.reason), severity="warning")


POLLED = (
    "Files are polled, because the system provides no watches ({reason}): an edit takes about 3 seconds. Raise "
    "fs.inotify.max_user_instances and fs.inotify.max_user_watches (sysctl), then restart the daemon."
)


def _watch_space(daemon: Daemon, free: int) -> None:
    """Refuse new work while there is little space, and say so: in each refusal, in the log once, and as a problem."""
    if free >= LOW_SPACE:
        daemon.state.low_space = None
        return daemon.problems.clear("low_space")
    mark = f"{LOW_SPACE // 1024**2} MiB"
    said = f"Only {free // 1024**2} MiB are free on the disk of the state root; new work is refused below {mark}."
    if daemon.state.low_space is None:
        log.warning("%s", said)
    daemon.state.low_space = f"{said} Free some space."
    message = f"Less than {mark} are free on the disk of the state root; new work is refused. Free some space."
    return daemon.problems.add("low_space", "", message)


async def keep_scribe(daemon: Daemon) -> None:
    """Restart a scribe that ended or failed; it begins before the reactors start, since they wait for the index."""
    while True:
        await asyncio.sleep(TICK)
        if daemon.facts.scribe_failed or not daemon.store.scribe.alive:
            await revive_scribe(daemon)


async def keep_time(daemon: Daemon) -> None:
    """Watch the disk, and let the reactors do what is due, every second.

    Raises StoreFailed if the state root was moved away.
    """
    while True:
        await asyncio.sleep(TICK)
        state = daemon.state
        now = ids.stamp(state.clock())
        await asyncio.to_thread(lock.still_held, state.root)
        try:
            if not await asyncio.to_thread(presence.restore, state.root, daemon.facts, state.index):
                with contextlib.suppress(ChildGone):
                    daemon.store.scribe.send_nowait("things", things=[])  # it notices, and says so
            await asyncio.to_thread(boot.note, state.root, state.durable_n)
            daemon.problems.clear("disk_failed")
        except OSError as error:  # the log goes on, or says so itself
            daemon.problems.add("disk_failed", "", f"{error.filename} cannot be written: {error.strerror}.")
        _watch_space(daemon, await asyncio.to_thread(free_bytes, state.root))
        state.evict()
        tell_watching(daemon)
        for reactor in daemon.reactors:
            await daemon.guard.awaiting(reactor, reactor.tick(now))
