"""Users' edits in `pending/`: an approval is resolved, a question answered, a proposal decided.

An invalid edit becomes a problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from kheish.authoring import contents
from kheish.authoring.contents import Content
from kheish.authoring.forms import FORMS
from kheish.authoring.forms.form import BY, Form, PendingForm, read
from kheish.authoring.forms.memory import Review
from kheish.authoring.problems import Problems
from kheish.errors import FileRefused, Invalid, KheishError, PersonRequired, StoreFailed
from kheish.runtime.memory import proposals
from kheish.runtime.memory.keeper import Keeper
from kheish.state import pins
from kheish.state.state import State
from kheish.store import door, names, parsing
from kheish.store.edits.problems import Problem

_FOLDERS: Mapping[str, PendingForm] = {str(kind.noun.pending): kind for kind in FORMS.values()}
_PAGE = 200


class Answers:
    """The reader of filled-in files. `rewrite(noun, id)` requests that the file of a pending thing be rewritten."""

    def __init__(
        self, state: State, problems: Problems, memory: Keeper, *, rewrite: Callable[[str, str], None]
    ) -> None:
        self._state = state
        self._problems = problems
        self._memory = memory
        self._rewrite = rewrite
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Process the edits and removals from while no daemon ran."""
        paths = await asyncio.to_thread(_list_files, self._state.root)
        asked = {
            f"pending/{folder}/{id}.yaml" for folder, kind in _FOLDERS.items() for id in await self._pending(kind.name)
        }
        touched = await asyncio.to_thread(self._list_edited, paths)
        async for path, content in contents.each(self._state.root, touched):
            await self._drop_part(path, content)
        await self.take(frozenset(touched) | asked.difference(paths))

    def _list_edited(self, paths: Iterable[str]) -> list[str]:
        """Return the files that differ from the daemon's text: few of the pending ones. Blocks on disk."""
        edited: list[str] = []
        for path in paths:
            kind, id = _thing(path)
            document = self._state.index.thing(kind.name, id)
            with suppress(OSError, FileRefused):
                raw = door.read(self._state.root, path)
                if document is not None and kind.is_untouched(raw, document):
                    continue
            edited.append(path)
        return edited

    async def _drop_part(self, path: str, raw: Content) -> None:
        """Remove a file that a power cut has truncated or left with holes: it is no user's answer. The file of a
        pending thing is rewritten, and a resolved thing needs none.
        """
        kind, id = _thing(path)
        cls = kind.noun.cls
        if not isinstance(raw, bytes):  # `take` reports it
            return
        document = self._state.recalled(cls, id) or await self._state.recall(cls, id)
        if document is not None and kind.is_part(raw, document):
            await asyncio.to_thread(names.within(self._state.root, path).unlink, missing_ok=True)

    async def take(self, paths: frozenset[str]) -> None:
        """Process files that were created, changed or removed. Raises StoreFailed, Damaged."""
        async with self._lock:
            ours = [path for path in sorted(paths) if is_form(path)]
            async for path, content in contents.each(self._state.root, ours):
                self._problems.replace(path, await self._take_file(path, content))

    async def _pending(self, noun: str) -> list[str]:
        ids: list[str] = []
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, noun, limit=_PAGE, cursor=cursor, statuses=("pending",)
            )
            ids += [document[f"{noun}_id"] for document in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return ids

    async def _take_file(self, path: str, raw: Content) -> list[Problem]:
        """Process one file, and return its problems."""
        kind, id = _thing(path)
        cls = kind.noun.cls
        if isinstance(raw, FileRefused):
            return [Problem(path, None, None, "error", "unreadable", f"the file {raw.reason}")]
        if isinstance(raw, OSError):
            return [Problem(path, None, None, "error", "unreadable", f"the file cannot be read: {raw.strerror}")]
        document = self._state.recalled(cls, id) or await self._state.recall(cls, id)
        if document is None:
            message = f"there is no {kind.name} {id!r}; remove the file"
            return [] if raw is None else [Problem(path, None, None, "error", f"unknown_{kind.name}", message)]
        if raw is None:
            async with self._newest(cls, id, document) as newest:
                if newest["status"] == "pending":
                    self._rewrite(kind.name, id)
            return []
        form = await parsing.run(read, kind, raw, path, {**document, "status": "pending"})
        if form.filled is None:
            return form.problems if document["status"] == "pending" else []
        async with self._newest(cls, id, document) as newest:
            if newest["status"] != "pending":  # the daemon removes the file, so its author must be informed
                late = kind.late(newest)
                return [form.at(kind.mine[:1], late.detail, code=late.code, key=True)]
            return await self._resolve(kind, id, form)

    @asynccontextmanager
    async def _newest(self, cls: type[Any], id: str, known: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the newest document. Pending things are kept in memory; others are loaded only if they are acted on."""
        if known["status"] != "pending":
            yield known
            return
        async with pins.thing(self._state, cls, id) as ended:
            yield ended or self._state.recalled(cls, id) or known

    async def _resolve(self, kind: PendingForm, id: str, form: Form) -> list[Problem]:
        """Call the domain with the filled-in values, and return its refusal as problems."""
        assert form.filled is not None
        try:
            answer = form.filled(self._state, id)
            if isinstance(answer, Review):
                return await self._review(id, form, answer)
        except PersonRequired as error:
            return [form.at(kind.mine[:1], error.detail, code=error.code)]
        except Invalid as error:
            faults = [(tuple(fault.path.strip("/").split("/")), fault.message) for fault in error.errors]
            return [form.at(keys, f"{keys[-1]}: {message}") for keys, message in faults] or [
                Problem(form.path, None, None, "error", error.code, error.detail)
            ]
        return []

    async def _review(self, id: str, form: Form, review: Review) -> list[Problem]:
        """Decide about a proposal of memory; what prevents the change becomes a problem. Raises StoreFailed."""
        try:
            await proposals.decide(self._memory, id, review.decision, by=BY, via="file", reason=review.reason)
        except StoreFailed:
            raise
        except KheishError as error:
            return [form.at(("decision",), error.detail, code=error.code)]
        return []


def is_form(path: str) -> bool:
    """Return whether a path is that of a file which users fill in."""
    top, _, name = path.partition("/")
    folder, _, name = name.partition("/")
    return top == "pending" and folder in _FOLDERS and name.endswith(".yaml") and "/" not in name


def _thing(path: str) -> tuple[PendingForm, str]:
    """Return what a file is about: its kind, and the id of the thing."""
    _, folder, name = path.split("/")
    return _FOLDERS[folder], name.removesuffix(".yaml")


def _list_files(root: Path) -> list[str]:
    below = (path for folder in _FOLDERS for path, _ in door.walk(root, f"pending/{folder}"))
    return [path for path in below if is_form(path)]
