"""What is wrong now, for people: the list behind `GET /v1/problems`, and PROBLEMS.md."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kheish import ids
from kheish.store import files, problems
from kheish.store.problems import Problem, Severity

NAME = "PROBLEMS.md"


class Problems:
    """Problems by where they come from: a file that was read, or a code of the daemon's own. Lives on the event loop;
    PROBLEMS.md is written behind, in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[tuple[str, str], list[Problem]] = {}
        self._since: dict[str, str] = {}
        self._writing: asyncio.Task[None] | None = None
        self._dirty = False

    def replace(self, path: str, found: Sequence[Problem]) -> None:
        """What is wrong with a file, as of its last reading."""
        self._put(("file", path), list(found))

    def add(self, code: str, path: str, message: str, *, severity: Severity = "error") -> None:
        """Something that the daemon found; it stays until `clear`."""
        self._put((code, path), [Problem(path, None, None, severity, code, message)])

    def clear(self, code: str, path: str | None = None) -> None:
        """It is over: all of a code's, or one path's."""
        for key in [key for key in self._found if key[0] == code and path in (None, key[1])]:
            self._put(key, [])

    def list(self) -> list[dict[str, Any]]:
        """All problems as `shapes.md` has them, by path and line."""
        found = [problem for group in self._found.values() for problem in group]
        found.sort(key=lambda problem: (problem.path, problem.line or 0, problem.column or 0, problem.code))
        return [{**problems.view(problem), "since": self._since[problem.problem_id]} for problem in found]

    def _put(self, key: tuple[str, str], found: Sequence[Problem]) -> None:
        before = self._found.get(key, [])
        if list(found) == before:
            return
        if found:
            self._found[key] = list(found)
        else:
            self._found.pop(key, None)
        now = ids.now()
        open_ids = {problem.problem_id for group in self._found.values() for problem in group}
        self._since = {id: self._since.get(id, now) for id in open_ids}
        self._dirty = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while self._dirty:
            self._dirty = False
            text = render(self.list())
            await asyncio.to_thread(_replace, self._root / NAME, text)


def _replace(path: Path, text: str) -> None:
    if text:
        files.atomic_write(path, text.encode(), fsync=False)
    else:
        path.unlink(missing_ok=True)


def render(found: Sequence[dict[str, Any]]) -> str:
    """PROBLEMS.md; nothing where nothing is wrong."""
    if not found:
        return ""
    lines = ["# Problems", "", "Written by the daemon; mend the files, and this list grows shorter by itself.", ""]
    for one in found:
        place = f"{one['path']}:{one['line']}:{one['column']}" if one["line"] else one["path"] or "the daemon"
        hint = f" Did you mean `{one['suggestion']}`?" if one["suggestion"] else ""
        message = one["message"] if one["message"].endswith((".", "?")) else f"{one['message']}."
        hint = "" if one["suggestion"] and one["suggestion"] in one["message"] else hint
        lines.append(f"- **{place}** ({one['severity']}, {one['code']}, since {one['since']}): {message}{hint}")
    return "\n".join([*lines, ""])
