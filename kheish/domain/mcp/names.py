"""The names of a server's tools: their true name, which rules match, and the name that a model sees."""

from __future__ import annotations

import re
from hashlib import sha256

PREFIX = "mcp__"
#: the longest name that providers accept
LONGEST = 64
_DIGITS = 8
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


def true_name(server: str, tool: str) -> str:
    """Return `mcp__<server>__<tool>` with the names as they are."""
    return f"{PREFIX}{server}__{tool}"


def model_name(server: str, tool: str) -> str:
    """Return the name for a model: of letters, digits, `_` and `-`, at most 64.

    A name that has to be changed ends with a hash of the true name, so that two tools never share one.
    """
    name = true_name(server, tool)
    plain = _FOREIGN.sub("_", name)
    if plain == name and len(name) <= LONGEST:
        return name
    digest = sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{plain[: LONGEST - _DIGITS - 1]}_{digest}"


def server_of(name: str) -> str | None:
    """Return the server in a true name; None for the name of another tool."""
    return name.removeprefix(PREFIX).partition("__")[0] if name.startswith(PREFIX) else None
