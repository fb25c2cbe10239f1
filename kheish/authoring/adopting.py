"""Adoption of users' edits: files that changed together are checked as one set, and invalid ones change nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from kheish.authoring import absent, checking, concern, owned_members, skills as skill_files, sources
from kheish.authoring.checking import Around, Outcome
from kheish.authoring.playbooks import files as playbook_files
from kheish.authoring.problems import Problems
from kheish.authoring.sources import Source, concerns, is_source, kind_of
from kheish.config import Config, apply_environment
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import DefinitionChanged, DefinitionManaged, Draft
from kheish.domain.permissions.decide import PermissionsFile
from kheish.domain.playbooks.manifest import Playbook
from kheish.state.state import State
from kheish.store import parsing
from kheish.store.edits.problems import Problem

#: settings of kheish.yaml that are read only once, when the daemon starts
AT_START: tuple[tuple[str, ...], ...] = (("bind",), ("durability",), ("commit", "every"))

Changed = Mapping[str, Source | None]  # files by path; None: deleted
Edited = Callable[[Sequence[str]], None]
Committed = Callable[[str], Awaitable[bytes | None]]
Listed = Callable[[str], Awaitable[Sequence[str]]]
LeftOut = Callable[[Iterable[str]], Awaitable[Mapping[str, bytes]]]


async def _no_files(paths: Iterable[str]) -> Mapping[str, bytes]:
    """Return nothing: no file is left out of the work tree."""
    return {}


class Adopting:
    """The files as last read, and the definitions in force (`state.definitions`).

    `edited(paths)` gets the paths to commit if `edits.commit` is auto. `committed(path)` reads the last commit, and
    `listed(folder)` lists a folder of it (without it, a file that was removed while no daemon ran is not noticed,
    unless another file refers to it). `left_out(paths)` returns the files that git keeps out of the work tree, which no
    user removed. `lock` is held during a check and the change after it.
    """

    def __init__(
        self,
        state: State,
        problems: Problems,
        *,
        edited: Edited,
        committed: Committed,
        listed: Listed | None = None,
        left_out: LeftOut = _no_files,
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
        self._unsettled: set[str] = set()  # files whose validity may change by a change of another file
        self._parsed = Outcome()  # their parsed forms, and those of routes
        self._scrub: Callable[[bytes], bytes] | None = None  # the last set of secrets that all files were scanned for
        self._scripts: set[str] = set()
        self.sources: dict[str, Source] = {}
        self.lock = asyncio.Lock()

    async def start(self, *, held: bool = False) -> list[str]:
        """Read all files, and return the paths to commit.

        If a file has errors, its version of the last commit is in force; edits from while no daemon ran are adopted as
        edits now. `held`: another git is at work in the work tree, so the last commit is taken as it is.
        """
        async with self.lock:
            self._started = self._state.definitions.config
            files = {} if held else await asyncio.to_thread(sources.read_all, self._state.root)
            last = await self._read_last_commit(files)
            files = dict(last) if held else await self._with_left_out(files, last)
            base = await parsing.run(checking.check, last, {})
            while await self._widen(last, files, base):
                base = await parsing.run(checking.check, last, {}, last=base)
            scrub = self._state.scrub
            files = await parsing.run(sources.guarded, files, scrub)
            outcome = await parsing.run(checking.check, files, base.world, last=base)
            owned_members.refuse(outcome, base.world, await owned_members.held(self._state, base.world))
            await absent.warn(self._state, outcome)
            outcome.scrub = scrub
            self._put(base.world)
            self._scripts = {*base.scripts, *playbook_files.all_beside(last)}
            digests, self._state.definitions.managed = await asyncio.to_thread(self._announced)
            changed = {path for path in files.keys() | last.keys() if last.get(path) != files.get(path)}
            paths = self._take(outcome, files, changed, by="person", told=digests)
            skills = [one.path for one in self._state.definitions.by_kind["skills"].values()]
            paths += await self.commit_beside(skills)  # they may have changed while no daemon ran
            await self._problems.write()
            return paths

    async def take(self, paths: frozenset[str]) -> list[str]:
        """Adopt files that a user changed, created or removed, and return the paths to commit. Raises StoreFailed."""
        relevant = frozenset(path for path in paths if concerns(path))
        beside = [path for path in paths if skill_files.lies_beside(path)]
        if not relevant:
            return await self.commit_beside(beside)
        async with self.lock:
            read = await asyncio.to_thread(sources.read, self._state.root, relevant)
            read = await self._with_left_out(read, relevant)
            changed = {path: read.get(path) for path in relevant}
            taken = self._take(await self.check(changed), changed, relevant, by="person")
            return [*taken, *await self.commit_beside([*beside, *taken])]

    async def commit_beside(self, paths: Sequence[str]) -> list[str]:
        """Commit the files of skills, which no check concerns: the changed ones, and all of a changed SKILL.md."""
        if not paths or self._state.definitions.config.edits.commit != "auto":
            return []
        files = await asyncio.to_thread(skill_files.beside, self._state.root, paths)
        if files:
            self._edited(files)
        return files

    async def check(self, changed: Changed, given: Mapping[str, Any] | None = None) -> Outcome:
        """Check changed files (None: removed) with all files that they concern, against the definitions in force."""
        in_force, scrub = self._state.definitions, self._state.scrub
        concerned = concern.of({*changed, *self._unsettled}, self.sources, in_force)
        if scrub is not self._scrub:  # a file may hold a secret that was unknown when it was read
            concerned |= {*self.sources, *(one.path for one in in_force.all())}
        outcome = await self._check(changed, concerned, given)
        if any(self._comes_or_goes(path, outcome, changed) for path in concerned):
            wider = concern.with_users(concerned, self.sources, in_force)
            outcome = outcome if wider == concerned else await self._check(changed, wider, given)
        outcome.scrub = scrub if outcome.concerned >= self.sources.keys() else None
        return outcome

    async def _check(self, changed: Changed, concerned: frozenset[str], given: Mapping[str, Any] | None) -> Outcome:
        in_force = self._state.definitions
        files = {path: self.sources[path] for path in concerned if path in self.sources and path not in changed}
        files |= {path: one for path, one in changed.items() if one is not None}
        before = {path: one for path in concerned if (one := in_force.at(path)) is not None}
        around = Around(self.sources, in_force, concerned)
        guarded = await parsing.run(sources.guarded, files, self._state.scrub)
        outcome = await parsing.run(checking.check, guarded, before, given, last=self._parsed, around=around)
        owned_members.refuse(outcome, before, await owned_members.held(self._state, before))
        await absent.warn(self._state, outcome)
        outcome.concerned = concerned
        return outcome

    def _comes_or_goes(self, path: str, outcome: Outcome, changed: Changed) -> bool:
        """Return whether a reference to this file resolves differently than before."""
        was_there, is_there = path in self.sources, changed.get(path, self.sources.get(path)) is not None
        return was_there != is_there or (path in outcome.world) != (self._state.definitions.at(path) is not None)

    def adopt(
        self, outcome: Outcome, changed: Changed, *, by: str, also: Sequence[Draft] = (), beside: Sequence[str] = ()
    ) -> None:
        """Put the checked definitions in force, after the files were written or removed for a caller.

        `also` are events of the same group, and `beside` further files of the same commit.
        """
        self._take(outcome, changed, changed, by=by, also=also)
        if beside and self._state.definitions.config.edits.commit == "auto":
            self._edited(beside)

    # --- at start -----------------------------------------------------------------------------------------------------

    async def _read_last_commit(self, found: Mapping[str, Source]) -> dict[str, Source]:
        """Return the last commit's files: those that exist now, and those that it lists."""
        paths = dict.fromkeys(path for path in found)
        if self._listed is not None:
            for folder in ("", *KINDS):
                names = await self._listed(folder)
                paths |= dict.fromkeys(f"{folder}/{name}" if folder else name for name in names)
        return await self._read_committed(path for path in paths if is_source(path))

    async def _with_left_out(self, found: Mapping[str, Source], wanted: Iterable[str]) -> dict[str, Source]:
        """Add the files that are missing because git leaves them out of the work tree."""
        left_out = await self._left_out(path for path in wanted if path not in found)
        return {**found, **{path: sources.of(path, raw) for path, raw in left_out.items()}}

    async def _read_committed(self, paths: Iterable[str]) -> dict[str, Source]:
        return {path: sources.of(path, raw) for path in paths if (raw := await self._committed(path)) is not None}

    async def _widen(self, last: dict[str, Source], found: Mapping[str, Source], base: Outcome) -> bool:
        """Add referenced and missing files to the last commit's files. Returns whether there were any."""
        targets = {
            target
            for parsed in base.parsed.values()
            for target in checking.targets(parsed)
            if target not in last and target not in found
        }
        more = await self._read_committed(sorted(targets))
        last |= more
        return bool(more)

    def _announced(self) -> tuple[dict[str, str | None], dict[str, str]]:
        """Return the digest of each definition from its newest event, so that a start emits no duplicate event; and the
        stacks that files belong to."""
        kinds = (DefinitionChanged.kind, DefinitionManaged.kind)
        digests, managed = dict[str, str | None](), dict[str, str | None]()
        for _, kind, line in self._state.index.stream("journals/daemon", kinds):
            event = orjson.loads(line)["data"]
            if kind == DefinitionChanged.kind:
                digests[event["path"]] = event["digest"]
            else:
                managed[event["path"]] = event["managed_by"]
        return digests, {path: stack for path, stack in managed.items() if stack is not None}

    # --- putting in force ---------------------------------------------------------------------------------------------

    def _take(
        self,
        outcome: Outcome,
        files: Changed,
        changed: Iterable[str],
        *,
        by: str,
        told: Mapping[str, str | None] | None = None,
        also: Sequence[Draft] = (),
    ) -> list[str]:
        """Append the changes, replace them in memory, and report the problems. Returns the paths to commit."""
        before = self._state.definitions.at
        moved = sorted(path for path in outcome.concerned if before(path) is not outcome.world.get(path))
        drafts = [_event(path, before(path), outcome.world.get(path), by) for path in moved]
        drafts = [*(draft for draft in drafts if not _is_told(draft, told or {})), *also]
        if drafts:
            self._state.append(*drafts)
        self._put({path: outcome.world.get(path) for path in moved})
        self._note(outcome, files)
        paths = _to_commit({*changed, *moved}, outcome, self.sources, self._scripts)
        beside = playbook_files.all_beside(path for path in outcome.concerned if path in self.sources)
        self._scripts = {*(self._scripts - outcome.concerned), *outcome.scripts, *beside}
        if paths and self._state.definitions.config.edits.commit == "auto":
            self._edited(paths)
        return paths

    def _put(self, changes: Mapping[str, Definition | None]) -> None:
        """Replace the definitions in force, all at once."""
        now = self._state.definitions
        old = now.top.get("kheish.yaml")
        now.replace(changes)
        config, permissions = now.top.get("kheish.yaml"), now.top.get("permissions.yaml")
        if config is not old:
            now.config = apply_environment(config.value if config else Config(), self._environ)
        if "permissions.yaml" in changes:
            now.permissions = permissions.value if permissions else PermissionsFile()

    def _note(self, outcome: Outcome, files: Changed) -> None:
        """Store the concerned files and their problems, and report the problems."""
        for path, source in files.items():
            if source is not None:
                self.sources[path] = source
            else:
                self.sources.pop(path, None)
        if outcome.scrub is not None:
            self._scrub = outcome.scrub
        self._unsettled -= outcome.concerned
        for path in outcome.concerned:
            problems = [*outcome.problems.get(path, ()), *self._restart_problems(path, outcome)]
            self._problems.replace(path, problems)
            if concern.is_unsettled(path, problems):
                self._unsettled.add(path)
            is_kept = path.startswith(concern.ROUTES) or path in self._unsettled
            for kept, now in ((self._parsed.parsed, outcome.parsed), (self._parsed.read, outcome.read)):
                kept.pop(path, None)
                if is_kept and path in now:
                    kept[path] = now[path]
            self._state.definitions.observed.pop(path, None)
        self._state.definitions.observed |= outcome.observed

    def _restart_problems(self, path: str, outcome: Outcome) -> Iterator[Problem]:
        """Yield a problem for each changed setting that is only read at start."""
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
    """Return the top-level fields that differ; a separate script file counts as the field that names it."""
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
    """Return the paths whose file (or absence) is in force now, with the scripts that they name and the files beside a
    Playbook's manifest.

    `scripts`: the script files and adjacent files from before; other removed files are unknown.
    """
    named = {checking.script_of(one) for one in outcome.world.values()}
    paths = set[str]()
    for path in changed:
        source, in_force = found.get(path), outcome.world.get(path)
        if source is None:
            is_valid = in_force is None and path not in named and (kind_of(path) is not None or path in scripts)
        elif in_force is None:
            is_valid = path in outcome.scripts or playbook_files.is_whole(path, outcome, found)
        else:
            is_valid = in_force.raw == source.raw and not outcome.errors(path)
        if is_valid:
            script = checking.script_of(in_force) if in_force else None
            paths |= {path, script} if script else {path}
            paths |= set(playbook_files.with_it(path, found)) if source is not None else set()
    return sorted(paths)
