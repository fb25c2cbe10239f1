"""Users' edits in `pending/`: an approval is resolved, a question answered, a proposal decided.

An invalid edit becomes a problem.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from kheish.authoring import forms
from kheish.authoring.forms import Answered, Decided, Declined, Form, PendingNoun, Reviewed
from kheish.authoring.problems import Problems
from kheish.domain import approvals, questions
from kheish.domain.approvals import Approval
from kheish.domain.memory import proposals as proposed
from kheish.domain.memory.proposals import Decision, Proposal
from kheish.domain.questions import Question
from kheish.errors import FileRefused, Invalid, KheishError, PersonRequired, StoreFailed
from kheish.runtime.memory import proposals
from kheish.runtime.memory.keeper import Keeper
from kheish.state import pins
from kheish.state.state import State
from kheish.store import door, names, parsing
from kheish.store.edits.problems import Problem

_FOLDERS: dict[str, tuple[PendingNoun, type[Any]]] = {
    "approvals": ("approval", Approval),
    "questions": ("question", Question),
    "memory": ("memory_proposal", Proposal),
}
#: the person and channel to which an answer in a file is attributed: the author of a file is unknown
_BY = "file"
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
        asked = {f"pending/{folder}/{id}.yaml" for folder in _FOLDERS for id in await self._pending(folder)}
        touched = await asyncio.to_thread(self._list_edited, paths)
        for path in touched:
            await self._drop_part(path)
        await self.take(frozenset(touched) | asked.difference(paths))

    def _list_edited(self, paths: Iterable[str]) -> list[str]:
        """Return the files that differ from the daemon's text: few of the pending ones. Blocks on disk."""
        edited: list[str] = []
        for path in paths:
            folder, _, name = path.removeprefix("pending/").partition("/")
            noun, _ = _FOLDERS[folder]
            document = self._state.index.thing(noun, name.removesuffix(".yaml"))
            with suppress(OSError, FileRefused):
                raw = _read(self._state.root, path)
                if raw is not None and document is not None and forms.is_untouched(noun, raw, document):
                    continue
            edited.append(path)
        return edited

    async def _drop_part(self, path: str) -> None:
        """Remove a file that a power cut has truncated or left with holes: it is no user's answer. The file of a
        pending thing is rewritten, and a resolved thing needs none.
        """
        folder, _, name = path.removeprefix("pending/").partition("/")
        noun, cls = _FOLDERS[folder]
        id = name.removesuffix(".yaml")
        try:
            raw = await asyncio.to_thread(_read, self._state.root, path)
        except (OSError, FileRefused):  # `take` reports it
            return
        document = self._state.recalled(cls, id) or await self._state.recall(cls, id)
        if raw is not None and document is not None and forms.is_part(noun, raw, document):
            await asyncio.to_thread(names.within(self._state.root, path).unlink, missing_ok=True)

    async def take(self, paths: frozenset[str]) -> None:
        """Process files that were created, changed or removed. Raises StoreFailed, Damaged."""
        async with self._lock:
            for path in sorted(paths):
                folder, _, name = path.removeprefix("pending/").partition("/")
                if path.startswith("pending/") and folder in _FOLDERS and name.endswith(".yaml") and "/" not in name:
                    noun, cls = _FOLDERS[folder]
                    self._problems.replace(path, await self._take_file(noun, cls, name.removesuffix(".yaml"), path))

    async def _pending(self, folder: str) -> list[str]:
        noun, _ = _FOLDERS[folder]
        ids: list[str] = []
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things, noun, limit=_PAGE, cursor=cursor, statuses=("pending",)
            )
            ids += [document[forms.PENDING[noun][0]] for document in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return ids

    async def _take_file(self, noun: PendingNoun, cls: type[Any], id: str, path: str) -> list[Problem]:
        """Process one file, and return its problems."""
        try:
            raw = await asyncio.to_thread(_read, self._state.root, path)
        except FileRefused as refused:
            return [Problem(path, None, None, "error", "unreadable", f"the file {refused.reason}")]
        except OSError as error:
            return [Problem(path, None, None, "error", "unreadable", f"the file cannot be read: {error.strerror}")]
        document = self._state.recalled(cls, id) or await self._state.recall(cls, id)
        if document is None:
            message = f"there is no {noun} {id!r}; remove the file"
            return [] if raw is None else [Problem(path, None, None, "error", f"unknown_{noun}", message)]
        if raw is None:
            async with self._newest(cls, id, document) as newest:
                if newest["status"] == "pending":
                    self._rewrite(noun, id)
            return []
        form = await parsing.run(forms.read, noun, raw, path, {**document, "status": "pending"})
        if form.filled is None:
            return form.problems if document["status"] == "pending" else []
        async with self._newest(cls, id, document) as newest:
            if newest["status"] != "pending":
                return [_problem_of_late(form, noun, newest)]
            return await self._resolve(id, form)

    @asynccontextmanager
    async def _newest(self, cls: type[Any], id: str, known: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the newest document. Pending things are kept in memory; others are loaded only if they are acted on."""
        if known["status"] != "pending":
            yield known
            return
        async with pins.thing(self._state, cls, id) as ended:
            yield ended or self._state.recalled(cls, id) or known

    async def _resolve(self, id: str, form: Form) -> list[Problem]:
        """Call the domain with the filled-in values, and return its refusal as problems."""
        try:
            match form.filled:
                case Decided(decision, reason):
                    approvals.resolve(self._state, id, decision, by=_BY, via="file", reason=reason)
                case Reviewed(decision, reason):
                    return await self._review(id, form, decision, reason)
                case Answered(answers):
                    questions.answer(self._state, id, answers, by=_BY, via="file")
                case Declined(reason):
                    questions.decline(self._state, id, by=_BY, via="file", reason=reason)
        except PersonRequired as error:
            return [form.at(("decision",), error.detail, code=error.code)]
        except Invalid as error:
            faults = [(tuple(fault.path.strip("/").split("/")), fault.message) for fault in error.errors]
            return [form.at(keys, f"{keys[-1]}: {message}") for keys, message in faults] or [
                Problem(form.path, None, None, "error", error.code, error.detail)
            ]
        return []

    async def _review(self, id: str, form: Form, decision: Decision, reason: str | None) -> list[Problem]:
        """Decide about a proposal of memory; what prevents the change becomes a problem. Raises StoreFailed."""
        try:
            await proposals.decide(self._memory, id, decision, by=_BY, via="file", reason=reason)
        except StoreFailed:
            raise
        except KheishError as error:
            return [form.at(("decision",), error.detail, code=error.code)]
        return []


def _problem_of_late(form: Form, noun: PendingNoun, document: dict[str, Any]) -> Problem:
    """Return the problem that an earlier answer won.

    The daemon removes the file with its next commit, so its author must be informed.
    """
    late = {"approval": approvals.late, "question": questions.late, "memory_proposal": proposed.late}[noun]
    error = late(document)
    return form.at((forms.FORM[noun][0],), error.detail, code=error.code, key=True)


def _read(root: Path, path: str) -> bytes | None:
    """Return the file's bytes; None if it is missing. Raises FileRefused, OSError."""
    try:
        return door.read(root, path)
    except FileNotFoundError:
        return None


def _list_files(root: Path) -> list[str]:
    below = (path for folder in _FOLDERS for path, _ in door.walk(root, f"pending/{folder}"))
    return [path for path in below if path.endswith(".yaml") and path.count("/") == 2]
