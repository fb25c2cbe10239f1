"""Selection of a session's workspace: its own choice if the caller may make one, else a default."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from kheish.auth.tokens import Principal
from kheish.beneath import Door, Hidden, pool
from kheish.config import Config
from kheish.domain import workspaces
from kheish.errors import Forbidden, WorkspaceNotAllowed


class Workspaces:
    """The folders of one daemon. `given`: `serve --workspace`."""

    def __init__(self, root: Path, hidden: Hidden, config: Callable[[], Config], given: Path | None) -> None:
        self._root = root
        self._hidden = hidden
        self._config = config
        self._given = given

    async def default(self, session_id: str, *, is_own: bool = False) -> Path:
        """Return the daemon's own workspace, else (or with `is_own`) a folder of the session's own under the user's
        state folder. Raises WorkspaceNotAllowed where the first is none that a session may have."""
        return await pool.run(self._door, self._default, session_id, is_own)

    async def presumed(self) -> Path:
        """Return the workspace that a new session would have; nothing is made. Raises WorkspaceNotAllowed."""
        own = await pool.run(self._door, self._own)
        return own or self._home() / "new-session"

    async def choose(self, named: str | None, caller: Principal, session_id: str) -> Path:
        """Return the real path of a folder that a caller names, for None the default. Raises WorkspaceNotAllowed,
        Forbidden."""
        if caller.limits:
            raise Forbidden(
                f"A token that is limited to sessions ({caller.limits}) cannot choose a workspace: omit it."
            )
        if named is None:
            return await self.default(session_id)
        path = Path(named)
        return await pool.run(Door(path), self._choose, path, caller)

    @property
    def _door(self) -> Door:
        return Door(self._root)

    def _choose(self, path: Path, caller: Principal) -> Path:
        real = workspaces.check(self._hidden, path)
        if caller.role == "admin":
            return real
        config, own = self._config(), self._own()
        allowed = [*config.workspaces, *([str(own)] if own is not None else [])]
        if not workspaces.is_within(real, allowed, Path.home()):
            listed = ", ".join(allowed) or "none"
            raise Forbidden(
                f"This token may not choose the workspace {str(path)!r} (it may choose: {listed}); an admin lists more "
                "in kheish.yaml, under workspaces."
            )
        return real

    def _default(self, session_id: str, is_own: bool) -> Path:
        own = self._own() if not is_own else None
        if own is not None:
            return own
        folder = self._home() / session_id
        folder.mkdir(parents=True, exist_ok=True)
        return workspaces.check(self._hidden, folder)

    def _home(self) -> Path:
        return state_home() / "kheish" / "workspaces" / self._root.name

    def _own(self) -> Path | None:
        """Return `serve --workspace`, else `workspace` of kheish.yaml, else the current folder if it may be one."""
        if self._given is not None:
            return workspaces.check(self._hidden, self._given.absolute())
        named = self._config().workspace
        if named is not None:
            return workspaces.check(self._hidden, Path(named).expanduser().absolute())
        current = Path.cwd()
        if current in (Path.home(), Path(current.anchor)):
            return None
        try:
            return workspaces.check(self._hidden, current)
        except WorkspaceNotAllowed:
            return None


def state_home() -> Path:
    """Return the user's state folder, by the XDG base directory specification."""
    given = os.environ.get("XDG_STATE_HOME")
    return Path(given) if given else Path.home() / ".local" / "state"


def unique_name(root: Path) -> str:
    """Return a name for the folders that a state root has elsewhere: its own, and a digest of its path."""
    return f"{root.name}-{sha256(str(root.resolve()).encode()).hexdigest()[:8]}"
