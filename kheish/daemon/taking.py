"""Takes what people wrote in force: what changed together is checked as one set; what is wrong changes nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from kheish.config import Config, apply_environment
from kheish.daemon import checking, playbook_files, sources
from kheish.daemon.checking import Outcome
from kheish.daemon.problems import Problems
from kheish.daemon.sources import Source, concerns, is_source, kind_of
from kheish.domain.definitions import KINDS, TOP, Definition
from kheish.domain.events import DefinitionChanged, Draft
from kheish.domain.permissions import PermissionsFile
from kheish.domain.playbook_manifest import Playbook
from kheish.domain.state import State
from kheish.store import parsing
from kheish.store.problems import Problem

#: settings of kheish.yaml that are read once, when the daemon starts
AT_START: tuple[tuple[str, ...], ...] = (("bind",), ("durability",), ("commit", "every"))

Edited = Callable[[Sequence[str]], None]
Committed = Callable[[str], Awaitable[bytes | None]]
Listed = Callable[[str], Awaitable[Sequence[str]]]
LeftOut = Callable[[Iterable[str]], Awaitable[Mapping[str, bytes]]]


async def _none(paths: Iterable[str]) -> Mapping[str, bytes]:
    """Of these nothing is left out of the work tree."""
    return {}


class Taking:
    """Keeps the files as last read, and what is in force (`state.definitions`).

    `edited(paths)` gets what to commit, where `edits.commit` is auto; `committed(path)` reads the last commit, and
    `listed(folder)` says what it holds there (without it, a file that was removed while no daemon ran is not noticed,
    unless something refers to it), `left_out(paths)` which files git keeps out of the work tree: they were removed by
    nobody. `lock` is held by whoever checks and then changes.
    """

    def __init__(
        self,
        state: State,
        problems: Problems,
        *,
        edited: Edited,
        committed: Committed,
        listed: Listed | None = None,
        left_out: LeftOut = _none,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._state = state
        self._problems = problems
        self._edited = edited
        self._committed = committed
        self._listed = listed
        self._left_out = left_out
        self._environ = environ
        self._started = state.definitions.config
        self._with_problems: set[str] = set()
        self._scripts: set[str] = set()
        self.sources: dict[str, Source] = {}
        self.lock = asyncio.Lock()

    async def start(self, *, held: bool = False) -> list[str]:
        """Read everything. Where a file has errors, its version of the last commit is in force; what was edited while
        no daemon ran is taken as an edit now. Returns what is to be committed.

        `held`: another git is at work in the work tree, so the last commit is taken as it is.
        """
        async with self.lock:
            self._started = self._state.definitions.config
            found = {} if held else await asyncio.to_thread(sources.read_all, self._state.root)
            last = await self._last(found)
            found = dict(last) if held else await self._with_left_out(found, last)
            base = await parsing.run(checking.check, last, {})
            while await self._widen(last, found, base):
                base = await parsing.run(checking.check, last, {})
            found = await parsing.run(sources.guarded, found, self._state.scrub)
            outcome = await parsing.run(checking.check, found, base.world)
            self._put(base.world)
            self._scripts = {*base.scripts, *playbook_files.all_beside(last)}
            told = await asyncio.to_thread(self._told)
            changed = {path for path in found.keys() | last.keys() if last.get(path) != found.get(path)}
            paths = self._take(outcome, found, changed, by="person", told=told)
            await self._problems.write()
            return paths

    async def take(self, paths: frozenset[str]) -> list[str]:
        """Take up files that a person changed, made or removed. Returns what is to be committed. Raises StoreFailed."""
        wanted = frozenset(path for path in paths if concerns(path))
        if not wanted:
            return []
        async with self.lock:
            read = await asyncio.to_thread(sources.read, self._state.root, wanted)
            read = await self._with_left_out(read, wanted)
            found = {**{path: one for path, one in self.sources.items() if path not in wanted}, **read}
            outcome = await self.check(found)
            return self._take(outcome, found, wanted, by="person")

    async def check(self, found: Mapping[str, Source], given: Mapping[str, Any] | None = None) -> Outcome:
        """What a set of files would come to, against what is in force."""
        guarded = await parsing.run(sources.guarded, found, self._state.scrub)
        return await parsing.run(checking.check, guarded, self._state.definitions.by_path(), given)

    def adopt(self, outcome: Outcome, found: Mapping[str, Source], paths: Iterable[str], *, by: str) -> None:
        """Take in force what was checked, after `paths` were written or removed for a caller."""
        self._take(outcome, found, paths, by=by)

    # --- at start -----------------------------------------------------------------------------------------------------

    async def _last(self, found: Mapping[str, Source]) -> dict[str, Source]:
        """The files of the last commit: those that are there now, and those that it lists."""
        paths = dict.fromkeys(path for path in found)
        if self._listed is not None:
            for folder in ("", *KINDS):
                names = await self._listed(folder)
                paths |= dict.fromkeys(f"{folder}/{name}" if folder else name for name in names)
        return await self._read_committed(path for path in paths if is_source(path))

    async def _with_left_out(self, found: Mapping[str, Source], wanted: Iterable[str]) -> dict[str, Source]:
        """Add the files that are not there because git leaves them out of the work tree."""
        left_out = await self._left_out(path for path in wanted if path not in found)
        return {**found, **{path: sources.of(path, raw) for path, raw in left_out.items()}}

    async def _read_committed(self, paths: Iterable[str]) -> dict[str, Source]:
        return {path: sources.of(path, raw) for path in paths if (raw := await self._committed(path)) is not None}

    async def _widen(self, last: dict[str, Source], found: Mapping[str, Source], base: Outcome) -> bool:
        """Add to the last commit's files what they refer to and what is gone now. Says whether there was any."""
        targets = {
            target
            for parsed in base.parsed.values()
            for target in checking.targets(parsed)
            if target not in last and target not in found
        }
        more = await self._read_committed(sorted(targets))
        last |= more
        return bool(more)

    def _told(self) -> dict[str, str | None]:
        """The digest of each definition as the newest event says, so that a start tells nothing twice."""
        rows = self._state.index.stream("journals/daemon", (DefinitionChanged.kind,))
        events = (orjson.loads(line)["data"] for _, _, line in rows)
        return {event["path"]: event["digest"] for event in events}

    # --- taking in force ----------------------------------------------------------------------------------------------

    def _take(
        self,
        outcome: Outcome,
        found: Mapping[str, Source],
        changed: Iterable[str],
        *,
        by: str,
        told: Mapping[str, str | None] | None = None,
    ) -> list[str]:
        """Append what changed, replace it in memory, tell the problems; returns the paths to commit, as handed on."""
        before = self._state.definitions.by_path()
        moved = sorted(path for path in before | outcome.world if before.get(path) is not outcome.world.get(path))
        drafts = [_event(path, before.get(path), outcome.world.get(path), by) for path in moved]
        drafts = [draft for draft in drafts if not _is_told(draft, told or {})]
        if drafts:
            self._state.append(*drafts)
        self._put(outcome.world)
        self._state.definitions.observed = dict(outcome.observed)
        self.sources = dict(found)
        self._tell(outcome)
        paths = _to_commit({*changed, *moved}, outcome, found, self._scripts)
        self._scripts = {*outcome.scripts, *playbook_files.all_beside(found)}
        if paths and self._state.definitions.config.edits.commit == "auto":
            self._edited(paths)
        return paths

    def _put(self, world: Mapping[str, Definition]) -> None:
        """Replace what is in force, all in one moment."""
        now = self._state.definitions
        by_kind: dict[str, dict[str, Definition]] = {name: {} for name in KINDS}
        top: dict[str, Definition] = {}
        for path, one in sorted(world.items()):
            if path in TOP:
                top[path] = one
            else:
                by_kind[one.kind][one.id] = one
        config, permissions = top.get("kheish.yaml"), top.get("permissions.yaml")
        if config is not now.top.get("kheish.yaml"):
            now.config = apply_environment(config.value if config else Config(), self._environ)
        now.permissions = permissions.value if permissions else PermissionsFile()
        now.by_kind, now.top = by_kind, top

    def _tell(self, outcome: Outcome) -> None:
        found = {path: [*problems, *self._late(path, outcome)] for path, problems in outcome.problems.items()}
        wrong = {path for path, problems in found.items() if problems}
        for path in wrong | self._with_problems:
            self._problems.replace(path, found.get(path, ()))
        self._with_problems = wrong

    def _late(self, path: str, outcome: Outcome) -> Iterator[Problem]:
        """Settings that were changed, but are only read at start."""
        parsed = outcome.parsed.get(path)
        if path != "kheish.yaml" or parsed is None or parsed.value is None or outcome.errors(path):
            return
        config = self._state.definitions.config
        for keys in AT_START:
            if _setting(config, keys) != _setting(self._started, keys):
                message = f"{'.'.join(keys)} takes effect at the next start of the daemon"
                yield parsed.at(keys, message, code="takes_effect_at_start", severity="warning")


def _setting(config: Config, keys: Sequence[str]) -> Any:
    value: Any = config
    for key in keys:
        value = getattr(value, key)
    return value


def _event(path: str, old: Definition | None, new: Definition | None, by: str) -> Draft:
    one = new or old
    assert one is not None
    return DefinitionChanged(
        path=path,
        definition=one.kind,
        id=one.id,
        change="removed" if new is None else "added" if old is None else "changed",
        fields=_fields(old, new),
        digest=new.digest if new else None,
    ).on(by=by)


def _fields(old: Definition | None, new: Definition | None) -> tuple[str, ...]:
    """The top-level fields that differ; a script in a file of its own counts as the field that names it."""
    before, after = (one.data if one else {} for one in (old, new))
    differ = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    if old and new and not differ and old.digest != new.digest and isinstance(new.value, Playbook):
        differ.add("files")
    if old and new and old.used != new.used:
        differ.add("script")
    return tuple(sorted(differ))


def _is_told(draft: Draft, told: Mapping[str, str | None]) -> bool:
    event = draft.event
    return isinstance(event, DefinitionChanged) and event.path in told and told[event.path] == event.digest


def _to_commit(changed: Iterable[str], outcome: Outcome, found: Mapping[str, Source], scripts: set[str]) -> list[str]:
    """Of the paths, those whose file (or whose absence) is in force now, with the scripts that they name, and the files
    beside a Playbook's manifest.

    `scripts`: the script files and those beside that were there before; of what else was removed, nothing is known.
    """
    named = {checking.script_of(one) for one in outcome.world.values()}
    paths = set[str]()
    for path in changed:
        there, in_force = found.get(path), outcome.world.get(path)
        if there is None:
            is_valid = in_force is None and path not in named and (kind_of(path) is not None or path in scripts)
        elif in_force is None:
            is_valid = path in outcome.scripts or playbook_files.is_whole(path, outcome, found)
        else:
            is_valid = in_force.raw == there.raw and not outcome.errors(path)
        if is_valid:
            script = checking.script_of(in_force) if in_force else None
            paths |= {path, script} if script else {path}
            paths |= set(playbook_files.with_it(path, found)) if there is not None else set()
    return sorted(paths)
