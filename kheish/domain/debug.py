"""Levels of debug capture: what a run records of its requests, for a look at them later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

#: off: nothing; redacted: without known secrets; full: everything, encrypted
Level = Literal["off", "redacted", "full"]


def effective(run: Level | None, session: Mapping[str, Any], daemon: Level) -> Level:
    """Return the level of a run: its own, else that of its session's settings, else the daemon's."""
    level: Level | None = run or session.get("debug")
    return level or daemon
