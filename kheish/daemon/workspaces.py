"""Where the tools of a session act that names no workspace of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from kheish.config import Config
from kheish.domain import sessions
from kheish.errors import WorkspaceNotAllowed


async def default_workspace(root: Path, config: Config, given: Path | None, session_id: str) -> Path:
    """`serve --workspace`, else `workspace:` of kheish.yaml, else the current folder where that is allowed, else a
    folder of the session's own under the user's state folder. Raises WorkspaceNotAllowed for the first two."""
    return await asyncio.to_thread(_find, root, config, given, session_id)


def presumed_workspace(root: Path, config: Config, given: Path | None) -> Path:
    """Return the workspace that a new session would have; nothing is made. Raises WorkspaceNotAllowed."""
    return _find(root, config, given, None)


def _find(root: Path, config: Config, given: Path | None, session_id: str | None) -> Path:
    if given is not None:
        return sessions.check_workspace(root, given.resolve())
    if config.workspace is not None:
        return sessions.check_workspace(root, Path(config.workspace).expanduser().resolve())
    current = Path.cwd()
    if current not in (Path.home(), Path(current.anchor)):
        try:
            return sessions.check_workspace(root, current)
        except WorkspaceNotAllowed:
            pass
    home = _state_home() / "kheish" / "workspaces" / root.name
    if session_id is None:
        return home / "new-session"
    own = home / session_id
    own.mkdir(parents=True, exist_ok=True)
    return sessions.check_workspace(root, own.resolve())


def _state_home() -> Path:
    """The user's state folder, by the XDG base directory specification."""
    given = os.environ.get("XDG_STATE_HOME")
    return Path(given) if given else Path.home() / ".local" / "state"
