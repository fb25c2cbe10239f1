"""What the API writes: checked like a person's edit, written to its file, and in force before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from kheish import ids
from kheish.daemon import reading
from kheish.daemon.reading import Place
from kheish.daemon.taking import Taking
from kheish.domain.definitions import KINDS
from kheish.domain.state import State
from kheish.errors import DefinitionReferenced, NotFound, PreconditionFailed
from kheish.store import definitions, files, problems
from kheish.store.watcher import Watcher

JSON = "application/json"


class Editor:
    """Writes Definitions for callers, one at a time."""

    def __init__(self, state: State, taking: Taking, watcher: Watcher) -> None:
        self._state = state
        self._taking = taking
        self._watcher = watcher

    async def put(self, kind: str, id: str, raw: bytes, media: str, *, if_match: str | None, by: str) -> bool:
        """Make or replace a definition; True where it is new. Raises InvalidDefinition, PreconditionFailed, Invalid."""
        place = _place(kind, id)
        async with self._taking.turn:
            there = await self._current(place)
            _match(there, if_match)
            if media == JSON:
                raw = self._as_text(place, raw)
            found = await self._taking.put(place, raw, by)
            if found.definition is None:
                raise definitions.refusal(place.path, [one for one in found.problems if one.severity == "error"])
            self._watcher.expect(place.path, sha256(raw).hexdigest())
            await asyncio.to_thread(self._write, place.path, raw)
            self._taking.accept(found, by)
        return there is None

    async def delete(self, kind: str, id: str, *, if_match: str | None, by: str) -> None:
        """Remove one. Raises NotFound, PreconditionFailed, DefinitionReferenced."""
        place = _place(kind, id)
        async with self._taking.turn:
            there = await self._current(place)
            if there is None:
                raise NotFound(f"There is no {KINDS[kind].singular} {id!r}.")
            _match(there, if_match)
            if users := self._taking.referred_by(kind, id):
                raise DefinitionReferenced(
                    f"The {KINDS[kind].singular} {id!r} is referred to by {', '.join(users)}; change these first.",
                    referred_by=users,
                )
            self._watcher.expect(place.path, None)
            await asyncio.to_thread(files.remove, self._state.root, place.path)
            self._taking.remove(place, by)

    async def validate(self, kind: str, id: str | None, raw: bytes, media: str) -> Sequence[Mapping[str, Any]]:
        """What is wrong with it; nothing is changed."""
        place = _place(kind, id or "draft")
        if media == JSON:
            parsed = reading.parse(self._state.root, place, raw, is_json=True)
            if parsed.definition is None:
                return [_shown(one) for one in parsed.problems]
            raw = self._as_text(place, raw)
        found = await self._taking.put(place, raw, "validate")
        return [_shown(one) for one in found.problems]

    def _as_text(self, place: Place, raw: bytes) -> bytes:
        """JSON as the file that a person would write. Raises InvalidDefinition."""
        parsed = reading.parse(self._state.root, place, raw, is_json=True).parsed
        value = parsed.require()
        data = value.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return definitions.dump_markdown(data) if place.kind.text else definitions.dump_yaml(data)

    async def _current(self, place: Place) -> bytes | None:
        path = files.inside(self._state.root, place.path)
        try:
            return await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            return None

    def _write(self, path: str, raw: bytes) -> None:
        files.atomic_write(files.inside(self._state.root, path), raw, fsync=True)


def _place(kind: str, id: str) -> Place:
    known = KINDS[kind]
    return Place(known, ids.check_slug(id), known.path(id))


def _match(there: bytes | None, if_match: str | None) -> None:
    current = files.blob_id(there) if there is not None else None
    if if_match is not None and if_match != current and not (if_match == "*" and current):
        raise PreconditionFailed(
            "The definition changed meanwhile; read it again, and send its ETag." if current else "There is none yet.",
            etag=current,
        )


def _shown(problem: problems.Problem) -> dict[str, Any]:
    return {**problems.view(problem), "since": ids.now()}
