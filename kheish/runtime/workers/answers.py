"""The errors that cross the connection: a table of kinds, so that the daemon raises what the tool raised there."""

from __future__ import annotations

from kheish.errors import (
    Conflict,
    Invalid,
    KheishError,
    NotBeneath,
    NotFound,
    WorkerFailed,
    WorkspaceNotAllowed,
    WorkspaceSlow,
)
from kheish.runtime.tools.base import ToolError

#: kind → error; an error has the first kind that it is an instance of, so derived classes come first
KINDS: dict[str, type[Exception]] = {
    "tool": ToolError,
    "slow": WorkspaceSlow,
    "not_allowed": WorkspaceNotAllowed,
    "beneath": NotBeneath,
    "missing": NotFound,
    "conflict": Conflict,
    "invalid": Invalid,
    "timeout": TimeoutError,
}


def raised(kind: str, message: str) -> Exception:
    """Return the error that a worker reported."""
    return KINDS.get(kind, WorkerFailed)(message)


def described(error: Exception) -> tuple[str, str]:
    """Return kind and message of an error, as the frame has them."""
    kind = next((kind for kind, cls in KINDS.items() if isinstance(error, cls)), "failed")
    return kind, error.detail if isinstance(error, KheishError) else str(error) or type(error).__name__
