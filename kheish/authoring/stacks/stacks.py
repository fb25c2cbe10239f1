"""Stacks: a folder of Definitions that is applied as one validated commit, or not at all."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from kheish.authoring import checking, skills as skill_files
from kheish.authoring.adopting import Adopting
from kheish.authoring.checking import Outcome
from kheish.authoring.playbooks import files as playbook_files
from kheish.authoring.sources import Source
from kheish.authoring.stacks import intent, plan as planning
from kheish.authoring.stacks.plan import File, Plan
from kheish.domain.events import DefinitionManaged, Draft
from kheish.errors import (
    DefinitionManaged as ManagedElsewhere,
    FileRefused,
    Invalid,
    KheishError,
    PreconditionFailed,
    Unavailable,
)
from kheish.state.state import State
from kheish.store import door, names
from kheish.store.edits import definitions as reading
from kheish.store.edits.watcher import Watcher
from kheish.store.files import inside

#: files of a stack
MOST_FILES = 5000


class Stacks:
    """The plans of stacks, and their application. `held()` returns why nothing may be written now, or None."""

    def __init__(self, state: State, adopting: Adopting, watcher: Watcher, held: Callable[[], str | None]) -> None:
        self._state = state
        self._adopting = adopting
        self._watcher = watcher
        self._held = held

    async def plan(self, stack: str, files: Mapping[str, File], *, prune: bool) -> Plan:
        """Return what `apply` would do. Raises Invalid, DefinitionManaged."""
        async with self._adopting.lock:
            return (await self._plan(stack, files, prune=prune))[0]

    async def apply(self, stack: str, files: Mapping[str, File], *, prune: bool, expected: str | None, by: str) -> Plan:
        """Write the files, and put them in force, all or none. `expected`: the digest of the plan that was reviewed.

        Raises Invalid, InvalidDefinition, DefinitionManaged, PreconditionFailed, InsufficientStorage, Unavailable.
        """
        if (reason := self._held()) is not None:
            raise Unavailable(f"Definitions cannot be changed now. {reason}")
        async with self._adopting.lock:
            plan, outcome, changed, current = await self._plan(stack, files, prune=prune)
            if errors := plan.errors:
                raise reading.refusal(errors[0].path, errors)
            if expected is not None and expected != plan.digest:
                raise PreconditionFailed("The state root changed after the plan was made: make the plan again.")
            if not plan.effective:
                return plan
            contents = {one.path: files.get(one.path) for one in plan.effective if one.action != "label"}
            labels = {one.path: stack if one.after is not None else None for one in plan.effective}
            await self._write(intent.Intent(stack=stack, by=by, files=contents, labels=labels), current)
            drafts = [_label(one.path, labels[one.path], one.after, by) for one in plan.effective]
            beside = [path for path in contents if skill_files.lies_beside(path)]
            self._adopting.adopt(outcome, changed, by=by, also=drafts, beside=beside)
            self._note(labels)
        await self._state.durable()
        await asyncio.to_thread(intent.remove, self._state.root)
        return plan

    async def finish(self) -> None:
        """Write the files of an application that a kill interrupted. Call it before Definitions are read."""
        if (begun := await asyncio.to_thread(intent.read, self._state.root)) is not None:
            await asyncio.to_thread(intent.write_files, self._state.root, begun)

    async def finish_labels(self) -> None:
        """Label the files of an application that a kill interrupted. Call it after Definitions are read."""
        if (begun := await asyncio.to_thread(intent.read, self._state.root)) is None:
            return
        managed = self._state.definitions.managed
        missing = {path: stack for path, stack in begun.labels.items() if managed.get(path) != stack}
        if missing:
            digests = {path: reading.digest(file.content) for path, file in begun.files.items() if file is not None}
            drafts = [_label(path, stack, digests.get(path), begun.by) for path, stack in missing.items()]
            self._state.append(*drafts)
            self._note(missing)
            await self._state.durable()
        await asyncio.to_thread(intent.remove, self._state.root)

    async def export(self, stack: str | None) -> Mapping[str, File]:
        """Return the files of the Definitions in force, those of one stack or all."""
        known = self._state.definitions
        paths = {path for one in known.all() for path in self._with(one.path)}
        if stack is not None:
            paths = {path for path, owner in known.managed.items() if owner == stack}
        skills = [one.path for one in known.by_kind["skills"].values()] if stack is None else []
        return await asyncio.to_thread(_read, self._state.root, paths, skills)

    def _with(self, path: str) -> Iterable[str]:
        one = self._state.definitions.at(path)
        script = checking.script_of(one) if one is not None else None
        return [path, *([script] if script else []), *playbook_files.with_it(path, self._adopting.sources)]

    async def _plan(
        self, stack: str, files: Mapping[str, File], *, prune: bool
    ) -> tuple[Plan, Outcome, Mapping[str, Source | None], Mapping[str, File]]:
        ignored = tuple(sorted(path for path in files if not planning.is_member(path)))
        members = {path: file for path, file in files.items() if planning.is_member(path)}
        managed = self._state.definitions.managed
        _check_names(self._state.root, members)
        if others := sorted({managed[path] for path in members if managed.get(path) not in (None, stack)}):
            path = next(path for path in sorted(members) if managed.get(path) in others)
            raise ManagedElsewhere(f"{path} belongs to the stack {managed[path]!r}.", managed_by=managed[path])
        wanted = {*members, *(path for path, owner in managed.items() if owner == stack)}
        current = await asyncio.to_thread(_read, self._state.root, wanted, ())
        rows = tuple(planning.changes(stack, members, current, managed, prune=prune))
        touched = [one.path for one in rows if one.action in ("create", "change", "delete")]
        changed: dict[str, Source | None] = {
            path: Source(path, members[path].content) if path in members else None
            for path in touched
            if not skill_files.lies_beside(path)
        }
        outcome = await self._adopting.check(changed)
        problems = [one for path in sorted(changed) for one in outcome.problems.get(path, ())]
        return Plan(stack, rows, ignored, problems), outcome, changed, current

    async def _write(self, begun: intent.Intent, current: Mapping[str, File]) -> None:
        """Write the files, or none: after a fault, those that are written already get their old content again."""
        root = self._state.root
        self._expect(begun.files)
        await asyncio.to_thread(intent.write, root, begun)
        try:
            await asyncio.to_thread(intent.write_files, root, begun)
        except KheishError:
            before = {path: current.get(path) for path in begun.files}
            self._expect(before)
            await asyncio.to_thread(intent.write_files, root, replace(begun, files=before))
            await asyncio.to_thread(intent.remove, root)
            raise

    def _expect(self, files: Mapping[str, File | None]) -> None:
        for path, file in files.items():
            self._watcher.expect(path, reading.digest(file.content) if file is not None else None)

    def _note(self, labels: Mapping[str, str | None]) -> None:
        managed = self._state.definitions.managed
        for path, stack in labels.items():
            if stack is None:
                managed.pop(path, None)
            else:
                managed[path] = stack


def _label(path: str, stack: str | None, digest: str | None, by: str) -> Draft:
    return DefinitionManaged(path=path, managed_by=stack, digest=digest).on(by=by)


def _check_names(root: Path, files: Mapping[str, File]) -> None:
    """Raise Invalid for names that are unsafe, and for too many of them."""
    if len(files) > MOST_FILES:
        raise Invalid(f"A stack has at most {MOST_FILES} files, and this one {len(files)}.")
    for path in files:
        if not names.is_text(path) or any(part in ("", ".", "..") for part in path.split("/")):
            raise Invalid(f"{path!r} is not a path in the state root.")
        inside(root, path)


def _read(root: Path, paths: Iterable[str], skills: Iterable[str]) -> dict[str, File]:
    """Return the existing files, with those of skills. Blocks on disk."""
    found = {}
    for path in sorted({*paths, *skill_files.beside(root, skills)}):
        try:
            content = door.read(root, path)
            mode = names.within(root, path).lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except FileRefused as refused:
            raise Invalid(f"{path} {refused.reason}.") from refused
        found[path] = File(content, bool(mode & stat.S_IXUSR))
    return found
