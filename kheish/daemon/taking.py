"""Taking up: what people wrote takes effect when it is valid; until then the last valid version stays in force."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from kheish.config import Config, apply_environment
from kheish.daemon import reading
from kheish.daemon.problems import Problems
from kheish.daemon.reading import Found, Place
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import DefinitionChanged
from kheish.domain.permissions import PermissionsFile
from kheish.domain.state import State
from kheish.errors import Invalid
from kheish.store.problems import Problem

log = logging.getLogger(__name__)

#: settings that a running daemon cannot change
AT_START = ("bind", "durability", "commit")
PERSON = "person"


class Taking:
    """Keeps `state.definitions` in step with the files. One set at a time.

    `edited(paths)` is told what may be committed; `committed(path)` gives a file as the last commit has it.
    """

    def __init__(
        self,
        state: State,
        problems: Problems,
        *,
        edited: Callable[[Sequence[str]], None],
        committed: Callable[[str], Awaitable[bytes | None]],
        environ: Mapping[str, str],
    ) -> None:
        self._state = state
        self._problems = problems
        self._edited = edited
        self._committed = committed
        self._environ = environ
        self._top: dict[str, Definition] = {}
        self._started_with: Config | None = None
        self.turn = asyncio.Lock()

    async def start(self) -> None:
        """Read everything. Of a file that is not valid now, the last commit's version is in force."""
        paths = await asyncio.to_thread(lambda: list(reading.paths(self._state.root)))
        async with self.turn:
            await self._settle(paths, by=None)
        self._started_with = self._state.definitions.config

    async def take(self, paths: frozenset[str]) -> None:
        """A person's files have settled. Raises StoreFailed."""
        wanted = set(paths) | self._routes_of_scripts(paths)
        async with self.turn:
            await self._settle(sorted(path for path in wanted if reading.place_of(path)), by=PERSON)
        scripts = [path for path in paths if self._is_script(path)]
        if scripts and self._state.definitions.config.edits.commit == "auto":
            self._edited(scripts)

    async def put(self, place: Place, raw: bytes, by: str) -> Found:
        """What the API wants to write, checked with what is in force; in force afterwards where it is valid."""
        found = await asyncio.to_thread(reading.parse, self._state.root, place, raw)
        reading.cross_check({place.path: found}, self._with([found]))
        return found

    def accept(self, found: Found, by: str) -> None:
        """Put in force what `put` found valid, once its file is written."""
        self._problems.replace(found.place.path, found.problems)
        assert found.definition is not None
        self._replace(found.definition, by)

    def remove(self, place: Place, by: str) -> None:
        """Take a definition out of force. The caller has asked `referred_by` first."""
        self._problems.replace(place.path, [])
        self._drop(place, by)

    def referred_by(self, kind: str, id: str) -> list[str]:
        """The files that refer to a definition."""
        everything = [
            *self._top.values(),
            *(d for ids in self._state.definitions.by_kind.values() for d in ids.values()),
        ]
        return sorted(
            {d.path for d in everything for _, k, i in reading.references(d) if (k, i) == (kind, id) and d.id != id}
        )

    # --- a set --------------------------------------------------------------------------------------------------------

    async def _settle(self, paths: Sequence[str], *, by: str | None) -> None:
        places = [place for path in paths if (place := reading.place_of(path))]
        read = await asyncio.to_thread(lambda: [reading.read(self._state.root, place) for place in places])
        found = {one.place.path: one for one in read if one is not None}
        gone = [place for place, one in zip(places, read, strict=True) if one is None]
        reading.cross_check(found, self._with(list(found.values()), gone))
        for one in found.values():
            if one.definition is None and by is None:
                await self._fall_back(one)
        for one in found.values():
            self._problems.replace(one.place.path, [*one.problems, *self._late(one)])
            if one.definition is not None:
                self._replace(one.definition, by)
        valid = [one.place.path for one in found.values() if one.definition is not None]
        removed = [place.path for place in gone if self._gone(place, by)]
        if self._state.definitions.config.edits.commit == "auto":
            self._edited([*valid, *removed])  # at start too: what was edited while no daemon ran

    async def _fall_back(self, found: Found) -> None:
        """At start there is no version in force yet: the last commit's is, where it is valid."""
        raw = await self._committed(found.place.path)
        if raw is not None:
            old = await asyncio.to_thread(reading.parse, self._state.root, found.place, raw)
            if old.definition is not None:
                self._replace(old.definition, None)

    def _with(self, found: Sequence[Found], gone: Sequence[Place] = ()) -> dict[str, dict[str, Definition]]:
        """What would be in force, by kind and id."""
        known = {kind: dict(ids) for kind, ids in self._state.definitions.by_kind.items()}
        for place in gone:
            if place.kind.name in known:
                known[place.kind.name].pop(place.id, None)
        for one in found:
            if one.definition is not None and one.place.kind.name in known:
                known[one.place.kind.name][one.place.id] = one.definition
        return known

    def _gone(self, place: Place, by: str | None) -> bool:
        """A file was deleted: its definition goes, unless others refer to it."""
        users = self.referred_by(place.kind.name, place.id) if place.id else []
        if users:
            message = f"The file is gone, but {', '.join(users)} refer to it; its last version stays in force."
            self._problems.replace(
                place.path, [Problem(place.path, None, None, "error", "dangling_reference", message)]
            )
            return False
        self._problems.replace(place.path, [])
        self._drop(place, by)
        return True

    def _late(self, found: Found) -> list[Problem]:
        """Settings that take effect at the next start only."""
        new, old = found.definition, self._started_with
        if new is None or new.kind != "config" or old is None:
            return []
        return [
            found.parsed.at((name,), f"{name} takes effect at the next start", code="next_start", severity="warning")
            for name in AT_START
            if getattr(new.value, name) != getattr(old, name)
        ]

    # --- in force -----------------------------------------------------------------------------------------------------

    def _replace(self, new: Definition, by: str | None) -> None:
        in_force = self._state.definitions
        old = in_force.by_kind[new.kind].get(new.id) if new.kind in KINDS else self._top.get(new.path)
        if old is not None and old.digest == new.digest:
            return
        if new.kind == "config":
            self._top[new.path] = new
            in_force.config = self._overridden(new.value)
        elif new.kind == "permissions":
            self._top[new.path] = new
            in_force.permissions = new.value
        else:
            in_force.by_kind[new.kind][new.id] = new
        if by is not None:
            self._tell(new, "changed" if old else "added", _fields(old, new), by)

    def _overridden(self, config: Config) -> Config:
        try:
            return apply_environment(config, self._environ)
        except Invalid as error:
            log.error("%s", error.detail)
            return config

    def _drop(self, place: Place, by: str | None) -> None:
        in_force = self._state.definitions
        if place.kind.name in KINDS:
            old = in_force.by_kind[place.kind.name].pop(place.id, None)
        else:
            old = self._top.pop(place.path, None)
            if place.kind.name == "config":
                in_force.config = self._overridden(Config())
            else:
                in_force.permissions = PermissionsFile()
        if old is not None and by is not None:
            self._tell(old, "removed", (), by)

    def _tell(
        self, one: Definition, change: Literal["added", "changed", "removed"], fields: tuple[str, ...], by: str
    ) -> None:
        event = DefinitionChanged(
            path=one.path, definition=one.kind, id=one.id, change=change, fields=fields, digest=one.digest
        )
        self._state.append(event.on(by=by))

    # --- scripts ------------------------------------------------------------------------------------------------------

    def _routes_of_scripts(self, paths: frozenset[str]) -> set[str]:
        """Routes whose script is one of the files: they are taken up again."""
        routes = self._state.definitions.by_kind["routes"].values()
        broken = {one["path"] for one in self._problems.list() if one["path"].startswith("routes/")}
        using = {route.path for route in routes for path in paths if reading.uses_script(route, path)}
        return using | (broken if any(path.startswith("routes/") for path in paths) else set())

    def _is_script(self, path: str) -> bool:
        return any(reading.uses_script(one, path) for one in self._state.definitions.by_kind["routes"].values())


def _fields(old: Definition | None, new: Definition) -> tuple[str, ...]:
    """The top-level fields that changed."""
    before: Mapping[str, Any] = old.data if old else {}
    return tuple(sorted(key for key in {*before, *new.data} if before.get(key) != new.data.get(key)))
