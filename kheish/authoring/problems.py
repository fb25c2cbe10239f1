"""The current problems: kept for the API, and written to PROBLEMS.md for users."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import orjson

from kheish import ids
from kheish.auth import redaction
from kheish.store.edits import problems as words
from kheish.store.edits.problems import Problem, Severity
from kheish.store.escaping import visible
from kheish.store.files import atomic_write

log = logging.getLogger(__name__)

FILE = "PROBLEMS.md"
_HEAD = """# Problems

Current problems. If a file has errors, its last valid version stays in effect. The daemon owns this file: it rewrites
it at each change, and removes it when there are no problems.
"""

#: the rest after a write of the file, as a multiple of its time, and in seconds
_REST, _LONGEST = 10.0, 2.0

_Key = tuple[str, str]


class Problems:
    """The problems of two kinds: those of a file's content (`replace`, by path), and reported conditions (`add`,
    `clear`, by code).

    They are used on the event loop only. The file is written in a thread, for many changes at once. What both show is
    scrubbed: a problem may quote what a program wrote.
    """

    def __init__(self, root: Path) -> None:
        self.scrub: Callable[[], Callable[[bytes], bytes]] = lambda: redaction.NOTHING
        self._path = root / FILE
        self._files: dict[str, dict[_Key, Problem]] = {}
        self._reported: dict[_Key, Problem] = {}
        self._since: dict[_Key, str] = {}
        self._dirty = False
        self._next = 0.0  # when the file is written next, unless a caller waits for it
        self._urgent = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    def replace(self, path: str, problems: Iterable[Problem]) -> None:
        """Replace all problems of one file's content; an empty list means that the file is valid."""
        keyed = {("", problem.problem_id): problem for problem in problems}
        before = self._files.get(path, {})
        if keyed == before:
            return
        if keyed:
            self._files[path] = keyed
        else:
            del self._files[path]
        self._note_changes(keyed.keys(), before.keys() - keyed.keys())

    def add(
        self, code: str, path: str, message: str, *, severity: Severity = "error", suggestion: str | None = None
    ) -> None:
        """Report a problem other than a file's content (`path` may be empty); a repetition only updates the text."""
        problem = Problem(path, None, None, severity, code, message, suggestion)
        if self._reported.get((code, path)) != problem:
            self._reported[code, path] = problem
            self._note_changes([(code, path)])

    def damaged(self, path: str, reason: str) -> None:
        """Report that a journal is unreadable."""
        self.add("damaged_journal", path, reason)

    def clear(self, code: str, path: str | None = None) -> None:
        """Remove a reported problem (without a path: all with this code)."""
        if path is not None:
            over = [(code, path)] if (code, path) in self._reported else []
        else:
            over = [key for key in self._reported if key[0] == code]
        for key in over:
            del self._reported[key]
        if over:
            self._note_changes(gone=over)

    def list(self) -> Sequence[Mapping[str, Any]]:
        """Return all problems in the format of `GET /v1/problems`, by file and line.

        `since` remains while a problem persists.
        """
        found = [{**words.view(problem), "since": self._since[key]} for key, problem in self._sorted()]
        raw = orjson.dumps(found)
        clean = self.scrub()(raw)
        return found if clean is raw else cast("Sequence[Mapping[str, Any]]", orjson.loads(clean))

    async def write(self) -> None:
        """Update PROBLEMS.md, and wait for it."""
        self._dirty = True
        self._urgent.set()
        self._begin()
        if self._writing is not None:
            await self._writing

    # --- inside -------------------------------------------------------------------------------------------------------

    def _iterate(self) -> Iterator[tuple[_Key, Problem]]:
        for problems in self._files.values():
            yield from problems.items()
        yield from self._reported.items()

    def _sorted(self) -> Sequence[tuple[_Key, Problem]]:
        return sorted(self._iterate(), key=lambda item: (item[1].path, item[1].line or 0, item[1].column or 0, item[0]))

    def _note_changes(self, there: Iterable[_Key] = (), gone: Iterable[_Key] = ()) -> None:
        """Record since when each problem exists.

        The cost grows with the changes only: a pull may bring thousands in sequence.
        """
        now = ids.now()
        for key in there:
            self._since.setdefault(key, now)
        for key in gone:
            self._since.pop(key, None)
        self._dirty = True
        self._begin()

    def _begin(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while self._dirty:
            await self._rest()
            self._dirty, began = False, time.monotonic()
            problems = [(problem, self._since[key]) for key, problem in self._sorted()]
            try:
                await asyncio.to_thread(self._store, problems)
            except OSError as error:  # it is for people only; the API still has all of it
                log.warning("%s cannot be written: %s", FILE, error)
            ended = time.monotonic()
            self._next = ended + min(_REST * (ended - began), _LONGEST)

    async def _rest(self) -> None:
        """Wait in proportion to the time of the last write: for thousands of problems that come one by one, the file
        would be written as often."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._urgent.wait(), max(0.0, self._next - time.monotonic()))
        self._urgent.clear()

    def _store(self, problems: Sequence[tuple[Problem, str]]) -> None:
        if text := _render(problems):
            atomic_write(self._path, redaction.scrub_file(text.encode(), self.scrub()), fsync=False)
        else:
            self._path.unlink(missing_ok=True)


def _render(problems: Sequence[tuple[Problem, str]]) -> str:
    """Return the text of PROBLEMS.md; empty without problems."""
    if not problems:
        return ""
    lines = [_HEAD]
    path: str | None = None
    for problem, since in problems:
        if problem.path != path:
            path = problem.path
            lines.append(f"## {visible(path) or 'The daemon'}\n")
        place = ":".join(str(part) for part in (problem.path, problem.line, problem.column) if part)
        where = f"`{place}` " if place else ""
        lines.append(visible(f"- {where}{problem.severity}: {problem.message} ({problem.code}, since {since})"))
    return "\n".join(lines).replace("\n## ", "\n\n## ").replace("\n\n\n", "\n\n") + "\n"
