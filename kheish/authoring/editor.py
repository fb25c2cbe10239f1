"""Edits of Definitions by API callers: checked like a user's edit, written to the file, and in force at once."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kheish import ids
from kheish.authoring import checking, owned_members, preconditions, skills as skill_files, sources
from kheish.authoring.adopting import Adopting
from kheish.authoring.playbooks import files as playbook_files
from kheish.authoring.sources import Source
from kheish.domain.definitions import KINDS, Kind
from kheish.errors import (
    DefinitionReferenced,
    InsufficientStorage,
    KheishError,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from kheish.state.state import State
from kheish.store import exchange, parsing
from kheish.store.edits import definitions as reading, problems as words
from kheish.store.edits.definitions import Parsed
from kheish.store.edits.watcher import Watcher
from kheish.store.exchange import Differs
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

        `if_match` is the ETag of the version to replace, `preconditions.ANY` for any, or `ABSENT` for none. Raises
        Invalid (the id), InvalidDefinition, PreconditionFailed (with `etag` of the current version if there is one),
        InsufficientStorage, Unavailable, StoreFailed.
        """
        return await self.store(KINDS[kind], KINDS[kind].path(ids.check_slug(id)), raw, media, if_match=if_match, by=by)

    async def store(self, kind: Kind, path: str, raw: bytes, media: str, *, if_match: str | None, by: str) -> bool:
        """Create or replace the file of a definition, such as kheish.yaml; arguments, answer and errors as of `put`."""
        self._refuse_held()
        async with self._adopting.lock:
            current = await self._current(path)
            self._match(path, current, if_match)
            if if_match == preconditions.ABSENT and (known := self._state.definitions.at(path)) is not None:
                preconditions.check(path, if_match, blob_id(known.raw))  # the file is gone, but others refer to it
            parsed, content = await parsing.run(_read, kind, path, raw, media)
            changed = {path: Source(path, content)}
            outcome = await self._adopting.check(changed, {path: parsed})
            if errors := outcome.errors(path):
                raise _refusal(path, errors)
            if media == _JSON:  # parsed again from the file's own form: later problems name its lines
                again = await parsing.run(checking.parse, kind, content, path)
                outcome = await self._adopting.check(changed, {path: again})
                if errors := outcome.errors(path):
                    raise _refusal(path, errors)
            is_new = self._state.definitions.at(path) is None
            if current is None or current.raw != content:
                self._watcher.expect(path, reading.digest(content))
                await self._written(path, content, current, if_match)
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
                raise NotFound(f"There is no {KINDS[kind].one} {id!r}.")
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
            beside = await asyncio.to_thread(skill_files.on_disk, self._state.root, id) if kind == "skills" else []
            for one in sorted({*removed, *beside}, reverse=True):
                self._watcher.expect(one, None)
                if one == path and current is not None:
                    await self._written(path, None, current, if_match)
                await asyncio.to_thread(_remove, self._state.root, one)
            self._adopting.adopt(outcome, changed, by=by)
            await self._adopting.commit_beside(beside)
        await self._state.durable()

    async def validate(self, kind: str, id: str | None, raw: bytes, media: str) -> Sequence[Mapping[str, Any]]:
        """Return the problems that putting it would cause, its own and others, in the format of `GET /v1/problems`."""
        path = KINDS[kind].path(ids.check_slug(id) if id is not None else "new")
        return await self.examine(KINDS[kind], path, raw, media)

    async def examine(self, kind: Kind, path: str, raw: bytes, media: str) -> Sequence[Mapping[str, Any]]:
        """Return the problems that storing the file of a definition would cause; arguments as of `store`."""
        async with self._adopting.lock:
            parsed, content = await parsing.run(_read, kind, path, raw, media, strict=False)
            outcome = await self._adopting.check({path: Source(path, content)}, {path: parsed})
        now = ids.now()
        return [{**words.view(problem), "since": now} for problem in outcome.problems[path]]

    async def _written(self, path: str, content: bytes | None, seen: Source | None, if_match: str | None) -> None:
        """Replace a file, or remove it (`content` None). A caller with a precondition replaces what it has seen, or
        nothing: a user may have saved the file since. Raises PreconditionFailed."""
        root = self._state.root
        if if_match is None or (seen is not None and seen.fault is not None):
            return await asyncio.to_thread(_write, root, path, content)
        try:
            return await asyncio.to_thread(_swap, root, path, content, seen.raw if seen is not None else None)
        except Differs as differs:
            known: dict[str, Any] = {"etag": blob_id(differs.content)} if differs.content is not None else {}
            raise PreconditionFailed(f"{path} was changed meanwhile: read it again.", **known) from None

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
        if if_match is not None:
            preconditions.check(path, if_match, blob_id(there.raw) if there is not None else None)


def _refusal(path: str, errors: list[words.Problem]) -> KheishError:
    """Return the error of a definition that is refused: by its own faults, or by the tasks of its project."""
    if owned_members.is_conflict(errors):
        return DefinitionReferenced(f"{path}: {errors[0].message}.", referenced_by=[])
    return reading.refusal(path, errors)


def _read(kind: Kind, path: str, raw: bytes, media: str, *, strict: bool = True) -> tuple[Parsed[Any], bytes]:
    """Return the parsed body, and the bytes of the file. Raises InvalidDefinition, if `strict`."""
    if media != _JSON:
        return checking.parse(kind, raw, path), raw
    parsed = reading.parse_json(kind.model, raw, path)
    if strict:
        parsed.require()
    if parsed.value is None or parsed.data is None:
        return parsed, raw
    fields = {field.alias or name: (name, field) for name, field in kind.model.model_fields.items()}
    texts = {
        key: value for key, value in parsed.data.items() if not _is_default(parsed.value, *fields.get(key, ("", None)))
    }
    return parsed, (reading.dump_markdown if kind.text else reading.dump_yaml)(texts)


def _is_default(value: Any, name: str, field: Any) -> bool:
    """Return whether a field has its default, which a file need not repeat."""
    if field is None or field.is_required():
        return False
    return bool(getattr(value, name) == field.get_default(call_default_factory=True))


def _write(root: Path, path: str, content: bytes | None) -> None:
    """Replace the file, or remove it. Raises Invalid, InsufficientStorage, Unavailable."""
    if content is None:
        return _remove(root, path)
    try:
        atomic_write(inside(root, path), content, fsync=True)
    except OSError as error:
        raise _refused(path, error) from error


def _swap(root: Path, path: str, content: bytes | None, seen: bytes | None) -> None:
    """Replace or remove the file if it is still as it was seen. Raises Differs, InsufficientStorage, Unavailable."""
    try:
        exchange.swap(root, path, content, seen=seen)
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
