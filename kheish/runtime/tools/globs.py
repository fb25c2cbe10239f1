"""Glob patterns over paths: `*`, `?`, `[…]` within a name, `**` over folders, `{a,b}` alternatives."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from kheish.runtime.tools.base import ToolError

_BRACES = re.compile(r"\{([^{}]*)\}")
_MAX_ALTERNATIVES = 64


def matcher(patterns: list[str]) -> Callable[[str], bool]:
    """A test for paths with `/`; a pattern without `/` is a file name at any depth."""
    compiled = [_compiled(pattern) for pattern in patterns]
    return lambda path: any(_match(parts, path.split("/")) for parts in compiled)


def expand(pattern: str) -> list[str]:
    """The pattern without braces, once for each alternative. Raises ToolError where there are too many."""
    done: list[str] = []
    todo = [pattern]
    while todo:
        text = todo.pop()
        found = _BRACES.search(text)
        if found is None:
            done.append(text)
        else:
            todo += [text[: found.start()] + part + text[found.end() :] for part in found[1].split(",")]
        if len(todo) + len(done) > _MAX_ALTERNATIVES:
            raise ToolError(f"{pattern}: has more than {_MAX_ALTERNATIVES} alternatives; use a simpler pattern.")
    return sorted(done)


def name_part(pattern: str) -> str:
    """What the pattern says of the file's name alone."""
    last = pattern.rsplit("/", 1)[-1]
    return "*" if last in ("", "**") else last


#: a step of a path: a compiled name, or None for `**`
_Steps = list[re.Pattern[str] | None]


def _compiled(pattern: str) -> _Steps:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if "/" not in pattern.rstrip("/"):
        parts.insert(0, "**")
    if parts and parts[-1] == "**":
        parts.append("*")
    # fnmatch's translation cannot backtrack without end, whatever the model writes
    return [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]


def _match(steps: _Steps, names: list[str]) -> bool:
    """Whether the steps fit all names: the positions that are reachable, step after step."""
    reached = {0}
    for step in steps:
        if step is None:
            reached = set(range(min(reached), len(names) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(names) and step.match(names[at])}
        if not reached:
            return False
    return len(names) in reached
