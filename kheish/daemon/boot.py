"""Booting: the log is replayed, journals and index are brought up to it, and open work is found again.

With a warm index neither Records nor journals are read, but those of sessions that the log names or that have open
work: start-up costs what is open, not what there is.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from kheish.daemon import index_backfill, pausing
from kheish.daemon.rows import row
from kheish.domain import events, nouns, runs
from kheish.domain.assets import asset as assets
from kheish.domain.forks import fork as forks
from kheish.domain.observations import observation as observations
from kheish.domain.sessions import end as session_end
from kheish.errors import Damaged, KheishError
from kheish.state import encoding, loading, streams
from kheish.state.state import Change, State
from kheish.store.git import restored
from kheish.store.log import journal, outage, segments, spills, wal
from kheish.store.log.index import Reader
from kheish.store.pipes import Child

log = logging.getLogger(__name__)

#: a root whose `.git/kheish` is new (a clone) goes on this far above what its commits name: numbers are never reused
JUMP = 1_000_000
BATCH = 400  # sessions read at a time
#: kinds of entries that name files which were written before them
_NAMING = frozenset({
    events.SessionForked.kind, events.AssetStored.kind, events.AssetDerived.kind, events.ObservationsStored.kind,
    events.ObservationsPurged.kind,
})  # fmt: skip


@dataclass(slots=True)
class Booted:
    """The result. `damaged` are (path, reason) of what cannot be read; `changes`: things that changed after entry
    `committed`, the newest that a commit holds."""

    next_n: int
    groups: int
    cut_bytes: int
    committed: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    resumed: int = 0
    restored: bool = False  # a clone of another root, or made of a backup: nothing acts before a person says so


async def recover(
    root: Path, scribe: Child, git: Child, progress: Callable[[str], None]
) -> tuple[Booted, dict[str, Any], wal.Recovered]:
    """Read the log, have scribe and git worker look, and find the next event number."""
    folder = root / ".git" / "kheish" / "wal"
    is_new = not folder.exists()
    found = await asyncio.to_thread(wal.recover, folder)
    await asyncio.gather(*(child.start() for child in (scribe, git) if not child.alive))
    progress("reading the log")
    if await asyncio.to_thread(outage.suspected, root):
        await git.request("after_outage")
    before, last = await asyncio.gather(scribe.request("start"), git.request("last"))
    committed = last["n"] if last else 0
    # Pulled changes to journals are no decisions made here: discard them before anything is read.
    if foreign := await git.request("foreign_journals"):
        await scribe.request("check", paths=foreign)
    mark = await asyncio.to_thread(restored.read, root)
    is_clone = is_new and bool(committed) and not await asyncio.to_thread(_noted, root)
    is_restored = is_clone or (mark is not None and mark.pending)
    if is_restored:
        await asyncio.to_thread(restored.write, root, pending=True)  # before there is a log: a kill must not lose it
    high = max(found.last, before["n"] or 0, committed, await asyncio.to_thread(_noted, root))
    next_n = high + 1 + (JUMP if is_restored or (is_new and committed) else 0)
    booted = Booted(next_n, len(found.groups), found.cut_bytes, committed, [("", line) for line in found.damaged])
    booted.restored = is_restored
    return booted, {**before, "last": last["commit"] if last else None}, found


async def sweep(git: Child, found: wal.Recovered) -> None:
    """Remove payloads whose entries are not in the log, since a kill came between the two writes.

    Do nothing if the log is damaged: its references are unknown then.
    """
    if not found.damaged:
        swept = await git.request("sweep_spills", named=sorted(set(_payloads(found))))
        if swept:
            log.info("removed %d payloads of entries that were never written", len(swept))


def _payloads(found: wal.Recovered) -> Iterator[str]:
    for where, line in (one for group in found.groups for one in group):
        folder = where.removesuffix("/journal")
        yield from (spills.place_of(folder, name) for name in encoding.spilled(line["data"]))
        match events.decode(line).event if line["kind"] in _NAMING else None:
            case events.SessionForked() as forked:
                yield from forks.paths(forked.path, forked)
            case events.AssetStored() | events.AssetDerived() as event:
                yield from assets.files_of(event)
            case events.ObservationsStored() | events.ObservationsPurged() as event:
                yield from observations.files_of(event)


def _noted(root: Path) -> int:
    try:
        return int((root / ".git" / "kheish" / "n").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def note(root: Path, n: int) -> None:
    """Store the highest event number out of reach of git commands."""
    path = root / ".git" / "kheish" / "n"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(str(n))
    temporary.replace(path)


async def index(
    root: Path,
    scribe: Child,
    git: Child,
    before: dict[str, Any],
    found: wal.Recovered,
    booted: Booted,
    progress: Callable[[str], None],
) -> None:
    """Update the index from journals: those in the log, those that commits changed, or all."""
    known, n = before["commit"], before["n"] or 0
    named = {where for group in found.groups for where, _ in group}
    is_cold = known is None or n == 0 or not before["whole"]
    if not is_cold and known != before["last"]:
        try:
            changed = await git.request("changed_since", commit=known)
            named |= {path.rsplit("/", 1)[0] for path in changed if path.endswith(".jsonl")}
        except KheishError as error:  # the commit is gone, or cannot be read: read everything
            log.warning("the index refers to a commit that cannot be read (%s); rebuilding it", error)
            is_cold = True
    while is_cold and (reason := (await git.request("hold"))["held"]):  # the files may be another branch's
        progress(f"the index must be rebuilt, but another git process is at work. {reason}")
        await asyncio.sleep(0.5)
    if is_cold:
        named |= set(await asyncio.to_thread(_all_journals, root))
        n = 0
    is_behind = is_cold or known != before["last"]
    gone = await asyncio.to_thread(index_backfill.deleted, root, found, all_of_them=is_behind)
    named -= {f"{session_end.tombstone(entry)['path']}/journal" for entry in gone}
    logged = _by_journal(found.groups)
    after, done, storing = min(n, booted.committed), 0, _nothing()
    for part in batched(sorted(named), BATCH):
        # The scribe stores the documents of a part while the next is folded here.
        folding = _owned(root, part, after, logged, is_cold=is_cold, whole=is_behind)
        _, _, read, _ = await asyncio.gather(
            storing,
            scribe.request("reindex", journals=list(part), after=n),
            asyncio.to_thread(_read, root, part, after, logged if is_cold else named),
            _store(scribe, booted, folding),
        )
        _note(booted, read)
        storing = scribe.request("things", things=read.rows)
        done += len(part)
        progress(f"reading journals into the index: {done} of {len(named)}")
    await storing
    await index_backfill.bury(scribe, gone)
    await scribe.request("things", things=[], n=max(n, found.last, booted.committed))
    await scribe.request("whole")
    if before["last"] and is_behind:
        scribe.send_nowait("committed", commit=before["last"])


def _by_journal(groups: Iterable[wal.Entries]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for where, line in (one for group in groups for one in group):
        found.setdefault(where, []).append(line)
    return found


async def _nothing() -> None:
    """Return an awaitable that is already done, for the first iteration."""


def _all_journals(root: Path) -> list[str]:
    days = (day for day in _folders(root / "sessions"))
    found = [f"sessions/{day.name}/{one.name}/journal" for day in days for one in _folders(Path(day.path))]
    return [*found, *segments.journals(root, "journals")]


def _folders(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the folders in a folder. For 100,000 sessions, this takes a fifth of the time of `glob`."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.is_dir(follow_symlinks=False) and _is_ours(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return


def _is_ours(name: str) -> bool:
    """Return whether the daemon may have created a folder with this name; other folders have no journal."""
    return name.isascii() and name.isprintable()


@dataclass(slots=True)
class _Read:
    """The changes of some sessions, as values and as rows of the index; (path, reason) of what cannot be read."""

    changes: list[Change] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)


def _read(root: Path, journals: Iterable[str], after_n: int, behind: Container[str]) -> _Read:
    """Read what changed in sessions after an event number.

    `behind`: journals that may lack entries which the index has, since another git works here.
    """
    result = _Read()
    index = Reader(root / ".kheish" / "index.sqlite")
    for where in journals:
        if not where.startswith("sessions/"):
            continue
        path = where.removesuffix("/journal")
        session_id = path.rsplit("/", 1)[1]
        try:
            beyond = index if where in behind else None
            _, found = loading.changes_after(root, nouns.NOUNS, session_id, path, after_n, index=beyond)
        except Damaged as error:
            result.damaged.append((where, error.detail))
            continue
        result.changes += [
            Change(n, nouns.NOUNS.by_name[name], id, session_id, path, value)
            for (name, id), (n, value) in found.items()
        ]
    result.rows = [row(change) for change in result.changes if change.value is not None]
    return result


def _owned(
    root: Path,
    journals: Iterable[str],
    after_n: int,
    logged: Mapping[str, list[dict[str, Any]]],
    *,
    is_cold: bool,
    whole: bool,
) -> Iterator[_Read]:
    """Yield what changed in streams after an event number, in portions. `whole`: not only the log may have what the
    index lacks."""
    result = _Read()
    index = None if is_cold else Reader(root / ".kheish" / "index.sqlite")
    for where in journals:
        if not where.startswith(streams.FOLDER):
            continue
        try:
            for changes in streams.changes_after(
                root, nouns.NOUNS, where, after_n, logged.get(where, ()), index=index, whole=whole
            ):
                result.changes += changes
                result.rows += [row(change) for change in changes if change.value is not None]
                if len(result.rows) >= streams.PORTION:
                    yield result
                    result = _Read()
        except Damaged as error:
            result.damaged.append((where, error.detail))
    yield result


async def _store(scribe: Child, booted: Booted, portions: Iterator[_Read]) -> None:
    """Index the changes in streams by portions: a stream may exceed the memory."""
    while (read := await asyncio.to_thread(next, portions, None)) is not None:
        _note(booted, read)
        if read.rows or read.damaged:
            await scribe.request("things", things=read.rows, lacking=[where for where, _ in read.damaged])


def _note(booted: Booted, read: _Read) -> None:
    booted.damaged += read.damaged
    booted.changes += [change for change in read.changes if change.n > booted.committed]


async def find_stream_ends(state: State) -> None:
    """Find where the journals end that streams have one each of, and the last links of those that are chained.

    Where an owner's own journal ends, the index says when the owner is loaded: no start looks at all of them.
    """
    for name, classes in state.nouns.streams(journal_per_owner=False).items():
        where = streams.FOLDER + name
        end = await asyncio.to_thread(journal.tail, state.root / where)
        line = await asyncio.to_thread(state.index.last_line, where, [cls.kind for cls in classes])
        known = orjson.loads(line)["seq"] if line is not None else 0
        state.streams[name] = max(end.seq, known)  # the index is ahead while another git works here
        if line is not None and any(cls.chained for cls in classes):
            state.links[where] = encoding.link(line.encode())


async def paused(state: State, booted: Booted) -> None:
    """Restore the pauses from before the restart; pause all of a restored root."""
    if booted.restored:
        state.paused.add(None)
    kinds = ("daemon.paused", "daemon.resumed")
    for _, kind, line in await asyncio.to_thread(state.index.stream, "journals/daemon", kinds):
        route = orjson.loads(line)["data"]["route"]
        if kind == "daemon.paused":
            state.paused.add(route)
        elif route is not None or not booted.restored:
            state.paused.discard(route)


async def pause_restored(state: State) -> None:
    """Journal that a restored root starts paused, and each goal with it; the mark stays until it takes over."""
    state.append(events.DaemonPaused(route=None).on())
    await pausing.pause_goals(state, "restored")
    await state.durable()
    await asyncio.to_thread(restored.write, state.root, pending=False)


async def open_work(state: State, booted: Booted, progress: Callable[[str], None]) -> None:
    """Load the sessions whose runs were queued or running; those that wait for a person are loaded when answered."""
    statuses = (runs.Status.QUEUED, runs.Status.RUNNING)
    wanted = await asyncio.to_thread(state.index.sessions_with, "run", statuses)
    for part in batched(wanted, BATCH):
        found = await asyncio.to_thread(_load_all, state, part)
        for loaded in found:
            if isinstance(loaded, tuple):
                booted.damaged.append(loaded)
            else:
                state.adopt(loaded)
                booted.resumed += 1
        progress(f"finding open work: {booted.resumed} of {len(wanted)} sessions")


def _load_all(state: State, session_ids: Iterable[str]) -> list[loading.Partition | tuple[str, str]]:
    found: list[loading.Partition | tuple[str, str]] = []
    for session_id in session_ids:
        doc = state.index.thing("session", session_id)
        if doc is None:
            continue
        try:
            found.append(loading.load(state.root, state.nouns, session_id, doc["path"], index=state.index))
        except Damaged as error:
            found.append((f"{doc['path']}/journal", error.detail))
    return found


def batched(items: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """Yield the items in tuples of at most `size` (itertools has it from Python 3.12 on)."""
    rest = iter(items)
    while part := tuple(islice(rest, size)):
        yield part
