"""The skills that exist for a workspace: of the state root, of the workspace, of configured folders.

The first with a name is in effect; the others are shadowed. A workspace's skill never takes the place of one of the
state root. Everything on disk is read in threads, and an unchanged file is not parsed again.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kheish.beneath import Door, names, pool
from kheish.domain import workspaces
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events.skills import Source
from kheish.domain.skills import skill as skills
from kheish.domain.skills.skill import FILE, Skill
from kheish.errors import NotBeneath, WorkspaceSlow
from kheish.runtime.project import folders
from kheish.runtime.skills import scanning
from kheish.runtime.skills.scanning import Cache, Scan, Seen
from kheish.state.state import State
from kheish.store.edits.problems import Problem
from kheish.store.files import blob_id

KIND = KINDS["skills"]
_SECONDS = 5.0
_KNOWN = 64  # workspaces
#: seconds for which a folder that did not respond is not searched
_REST = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A skill, without its text. `door` leads to its folder; `dir` is the folder as users see it."""

    name: str
    skill: Skill
    source: Source
    dir: str
    door: Door
    file: str  # the name of its SKILL.md
    digest: str
    etag: str
    problems: tuple[Problem, ...] = ()
    shadowed_by: str | None = None

    @property
    def definition(self) -> str:
        """The name of the skill in the ledger of trust."""
        return f"{KIND.name}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listing:
    """The skills for a workspace by name, the shadowed ones, and the problems of files that are no skills."""

    skills: Mapping[str, Found]
    shadowed: tuple[Found, ...] = ()
    problems: tuple[Problem, ...] = ()


class Catalog:
    """The skills of one daemon."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._cache = Cache()
        self._own: dict[str, tuple[Definition, Found]] = {}
        self._resting: dict[str, float] = {}
        self._last: OrderedDict[str | None, tuple[tuple[object, ...], Listing]] = OrderedDict()

    async def list_for(self, workspace: str | None) -> Listing:
        """Return the skills for a workspace; None: those that do not depend on one."""
        settings = self._state.definitions.config.skills
        own = list(self.of_state())
        problems: list[Problem] = []
        scans: list[tuple[Scan, Source]] = []
        if workspace and settings.workspace == "on":
            door = workspaces.door_of(self._state, workspace)
            if (scan := await self._scanned(door, problems)) is not None:
                scans.append((scan, "workspace"))
        for folder in settings.folders:
            path = Path(folder).expanduser()
            scan = await self._in_folder(Door(path, self._state.hidden), folder, problems)
            if scan is not None:
                scans.append((scan, "folder"))
        seen = [one for scan, _ in scans for one in (*scan.seen, *scan.problems)]
        parts = (*own, *seen, *problems)
        last = self._last.get(workspace)
        if last is None or len(last[0]) != len(parts) or not all(map(operator.is_, last[0], parts)):
            last = self._last[workspace] = parts, _merged(own, scans, problems)
            self._last.move_to_end(workspace)
            while len(self._last) > _KNOWN:
                self._last.popitem(last=False)
        return last[1]

    def of_state(self) -> Iterator[Found]:
        """Yield the skills of the state root."""
        known = self._state.definitions.by_kind[KIND.name]
        for id in self._own.keys() - known.keys():
            del self._own[id]
        for id, definition in known.items():
            before = self._own.get(id)
            if before is None or before[0] is not definition:
                before = self._own[id] = definition, self._of_definition(id, definition)
            yield before[1]

    def _of_definition(self, id: str, definition: Definition) -> Found:
        folder = f"{KIND.name}/{id}"
        return Found(
            name=id,
            skill=definition.value.model_copy(update={"body": ""}),
            source="state",
            dir=folder,
            door=Door(self._state.root / folder, self._state.hidden),
            file=FILE,
            digest=definition.digest,
            etag=blob_id(definition.raw),
        )

    async def _scanned(self, door: Door, problems: list[Problem]) -> Scan | None:
        key, now = str(door.path), self._state.clock()
        if self._resting.get(key, 0.0) > now:
            return None
        try:
            return await pool.within(_SECONDS, door, self._scan, door)
        except WorkspaceSlow as error:
            self._rest(key, now)
            problems.append(Problem(key, None, None, "warning", "slow", error.detail))
        except NotBeneath as error:
            problems.append(Problem(key, None, None, "warning", "unreadable", error.detail))
        return None

    def _scan(self, door: Door) -> Scan:
        return scanning.workspace(folders.find(door), self._cache)

    async def _in_folder(self, door: Door, folder: str, problems: list[Problem]) -> Scan | None:
        key, now = str(door.path), self._state.clock()
        if self._resting.get(key, 0.0) > now:
            return None
        try:
            return await pool.within(_SECONDS, door, scanning.folder, door, self._cache)
        except WorkspaceSlow as error:
            self._rest(key, now)
            detail = error.detail
        except NotBeneath as error:
            detail = error.detail
        message = f"skills.folders names {folder}, which cannot be searched: {detail}"
        problems.append(Problem("kheish.yaml", None, None, "warning", "unreadable", message, pointer="/skills/folders"))
        return None

    def _rest(self, key: str, now: float) -> None:
        self._resting = {one: until for one, until in self._resting.items() if until > now}
        self._resting[key] = now + _REST


def _found(scan: Scan, seen: Seen, source: Source) -> Found | None:
    """Return a skill of a folder; None for a file that is no skill."""
    folder = seen.via.rpartition("/")[2]
    name = skills.normalized(folder) or skills.normalized(seen.skill.name or "" if seen.skill is not None else "")
    if seen.skill is None or not name:
        return None
    path = scan.door.path if seen.path == "." else scan.door.path / names.meant(seen.path)
    return Found(
        name=name,
        skill=seen.skill,
        source=source,
        dir=scan.shown[seen.via],
        door=Door(path, scan.door.hidden),
        file=seen.file,
        digest=seen.digest,
        etag=seen.etag,
        problems=seen.problems,
    )


def _merged(own: list[Found], scans: list[tuple[Scan, Source]], problems: list[Problem]) -> Listing:
    found, wrong = list(own), list(problems)
    for scan, source in scans:
        wrong += scan.problems
        for seen in scan.seen:
            if (one := _found(scan, seen, source)) is not None:
                found.append(one)
            else:
                wrong += seen.problems
    return _listing(found, wrong)


def _listing(found: Iterable[Found], problems: list[Problem]) -> Listing:
    known: dict[str, Found] = {}
    shadowed: list[Found] = []
    for one in found:
        first = known.setdefault(one.name, one)
        if first is not one:
            message = f"the skill {one.name} is shadowed by {first.dir}, which comes first"
            problem = Problem(f"{one.dir}/{one.file}", None, None, "warning", "shadowed", message)
            shadowed.append(replace(one, shadowed_by=first.dir, problems=(*one.problems, problem)))
    ordered = {name: known[name] for name in sorted(known)}
    return Listing(skills=ordered, shadowed=tuple(shadowed), problems=tuple(problems))
