"""Expansion of globs beneath a folder as bash does it, bounded in the names that are looked at and in time."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from pathlib import Path

_MOST_ENTRIES = 20_000
_SECONDS = 1.0
_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "digit": "0-9", "lower": "a-z", "upper": "A-Z", "xdigit": "0-9a-fA-F",
    "word": "a-zA-Z0-9_",
}  # fmt: skip


@dataclass(slots=True)
class Budget:
    """What all globs of one command may use together."""

    entries: int = _MOST_ENTRIES
    until: float = field(default_factory=lambda: time.monotonic() + _SECONDS)

    @property
    def is_spent(self) -> bool:
        """Return whether no more may be looked at."""
        return self.entries <= 0 or time.monotonic() > self.until


def expand(root: Path, pattern: str, budget: Budget) -> list[str]:
    """Return the paths from `root` that fit, sorted. Links to folders are not followed, `..` and `/` lead nowhere."""
    steps = [step for step in pattern.split("/") if step not in ("", ".")]
    if pattern.startswith("/") or ".." in steps:
        return []
    found = [""]
    for number, step in enumerate(steps):
        is_last = number == len(steps) - 1
        found = [path for folder in found for path in _fitting(root, folder, step, budget, is_last=is_last)]
    return sorted(found)


def _fitting(root: Path, folder: str, step: str, budget: Budget, *, is_last: bool) -> list[str]:
    if not re.search(r"[*?\[]", step):
        path = f"{folder}/{step}" if folder else step
        is_there = os.path.lexists(root / path)
        return [path] if is_there and (is_last or not (root / path).is_symlink()) else []
    fits, paths = _compiled(step), list[str]()
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                budget.entries -= 1
                if budget.is_spent:
                    break
                is_hidden = entry.name.startswith(".") and not step.startswith(".")
                if not is_hidden and fits.match(entry.name) and (is_last or entry.is_dir(follow_symlinks=False)):
                    paths.append(f"{folder}/{entry.name}" if folder else entry.name)
    except OSError:
        return []
    return paths


@lru_cache(maxsize=512)
def _compiled(step: str) -> re.Pattern[str]:
    """A step as bash reads it: `[^x]` is `[!x]`, `[[:alpha:]]` is a class."""
    step = re.sub(r"\[:(\w+):\]", lambda found: _CLASSES.get(found[1], found[0]), step).replace("[^", "[!")
    return re.compile(translate(step))
