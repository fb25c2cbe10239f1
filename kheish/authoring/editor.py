"""Edits of Definitions by API callers: checked like a user's edit, written to the file, and in force at once."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kheish import ids
from kheish.authoring import checking, sources
from kheish.authoring.adopting import Adopting
from kheish.authoring.playbooks import files as playbook_files
from kheish.authoring.sources import Source
from kheish.domain.definitions import KINDS, Kind
from kheish.errors import DefinitionReferenced, InsufficientStorage, NotFound, PreconditionFailed, Unavailable
from kheish.state.state import State
from kheish.store import parsing
from kheish.store.edits import definitions as reading
from kheish.store.edits import problems as words
from kheish.store.edits.definitions import Parsed
from kheish.store.edits.watcher import Watcher
from kheish.store.files import atomic_write, blob_id, fsync_folder, inside

_JSON = "application/json"


class Editor:
    """The writer of Definition files, one at a time; `media` is `application/json` or `application/yaml`.

    `held()` returns why nothing may be written now (another git is at work), or None.
    """

    def __init__(
        self, state: State, adopting: Adopting, watcher: Watcher, *, held: Callable[[], str | None] = lambda: None
    ) -> None:
        self._state = state
        self._held = held
        self._adopting = adopting
        self._watcher = watcher

    async def put(self, kind: str, id: str, raw: bytes, media: str, *, if_match: str | None, by: str) -> bool:
        """Create or replace a definition, and put it in force; return whether it is new. YAML is kept byte for byte.

        Raises Invalid (the id), InvalidDefinition, PreconditionFailed (with `etag` of the current version if there is
        one), InsufficientStorage, Unavailable, StoreFailed.
        """
        path = KINDS[kind].path(ids.check_slug(id))
        self._refuse_held()
        async with self._adopting.lock:
            current = await self._current(path)
            self._match(path, current, if_match)
            parsed, content = await parsing.run(_read, KINDS[kind], path, raw, media)
            changed = {path: Source(path, content)}
            outcome = await self._adopting.check(changed, {path: parsed})
            if errors := outcome.errors(path):
                raise reading.refusal(path, errors)
            if media == _JSON:  # parsed again from the file's own form: later problems name its lines
                again = await parsing.run(checking.parse, KINDS[kind], content, path)
                outcome = await self._adopting.check(changed, {path: again})
                if errors := outcome.errors(path):
                    raise reading.refusal(path, errors)
            is_new = self._state.definitions.at(path) is None
            if current is None or current.raw != content:
                self._watcher.expect(path, reading.digest(content))
                await asyncio.to_thread(_write, self._state.root, path, content)
            self._adopting.adopt(outcome, changed, by=by)
        await self._state.durable()
        return is_new

    async def delete(self, kind: str, id: str, *, if_match: str | None, by: str) -> None:
        """Remove a definition.

        Raises NotFound, PreconditionFailed, DefinitionReferenced (with `referenced_by`), Unavailable.
        """
        path = KINDS[kind].path(ids.check_slug(id))
        self._refuse_held()
        async with self._adopting.lock:
            current = await self._current(path)
            if current is None and self._state.definitions.at(path) is None:
                raise NotFound(f"There is no {KINDS[kind].singular} {id!r}.")
            self._match(path, current, if_match)
            removed = {path, *playbook_files.with_it(path, self._adopting.sources)}
            changed = dict.fromkeys(removed)
            outcome = await self._adopting.check(changed)
            if path in outcome.world:
                users = self._state.definitions.bindings(path)
                raise DefinitionReferenced(
                    f"{path} is still referenced by {', '.join(users)}. Remove the reference first.",
                    referenced_by=users,
                )
            for one in sorted(removed, reverse=True):
                self._watcher.expect(one, None)
                await asyncio.to_thread(_remove, self._state.root, one)
            self._adopting.adopt(outcome, changed, by=by)
        await self._state.durable()

    async def validate(self, kind: str, id: str | None, raw: bytes, media: str) -> Sequence[Mapping[str, Any]]:
        """Return the problems that putting it would cause, its own and others, in the format of `GET /v1/problems`."""
        path = KINDS[kind].path(ids.check_slug(id) if id is not None else "new")
        async with self._adopting.lock:
            parsed, content = await parsing.run(_read, KINDS[kind], path, raw, media, strict=False)
            outcome = await self._adopting.check({path: Source(path, content)}, {path: parsed})
        now = ids.now()
        return [{**words.view(problem), "since": now} for problem in outcome.problems[path]]

    def _refuse_held(self) -> None:
        """Raise Unavailable while another git is at work in the work tree: nothing is written there then."""
        if (reason := self._held()) is not None:
            raise Unavailable(f"Definitions cannot be changed now. {reason}")

    async def _current(self, path: str) -> Source | None:
        """Return the file as it is now: a user may have saved it a moment ago."""
        return (await asyncio.to_thread(sources.read, self._state.root, (path,))).get(path)

    def _match(self, path: str, there: Source | None, if_match: str | None) -> None:
        """Raise PreconditionFailed unless the caller has seen the current file.

        A user's edit with errors is so not lost by accident.
        """
        if if_match is None or (if_match == "*" and there is not None):
            return
        if there is None:
            raise PreconditionFailed(f"{path} does not exist.")
        etag = blob_id(there.raw)
        if if_match != etag:
            raise PreconditionFailed(
                f"{path} was changed meanwhile: read it again, or send If-Match {etag}.", etag=etag
            )


def _read(kind: Kind, path: str, raw: bytes, media: str, *, strict: bool = True) -> tuple[Parsed[Any], bytes]:
    """Return the parsed body, and the bytes of the file. Raises InvalidDefinition, if `strict`."""
    if media != _JSON:
        return checking.parse(kind, raw, path), raw
    parsed = reading.parse_json(kind.model, raw, path)
    if strict:
        parsed.require()
    if parsed.value is None or parsed.data is None:
        return parsed, raw
    defaults = {name: field.get_default(call_default_factory=True) for name, field in kind.model.model_fields.items()
                if not field.is_required()}  # fmt: skip
    texts = {
        key: value
        for key, value in parsed.data.items()
        if key not in defaults or getattr(parsed.value, key, value) != defaults[key]
    }
    return parsed, (reading.dump_markdown if kind.text else reading.dump_yaml)(texts)


def _write(root: Path, path: str, content: bytes) -> None:
    """Replace the file. Raises Invalid, InsufficientStorage, Unavailable."""
    try:
        atomic_write(inside(root, path), content, fsync=True)
    except OSError as error:
        raise _refused(path, error) from error


def _remove(root: Path, path: str) -> None:
    file = inside(root, path)
    try:
        file.unlink(missing_ok=True)
        if file.parent.is_dir():
            fsync_folder(file.parent)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: str, error: OSError) -> InsufficientStorage | Unavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InsufficientStorage(f"{path} cannot be written: the disk is full.")
    return Unavailable(f"{path} cannot be written: {error.strerror}.")
