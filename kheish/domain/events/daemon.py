"""Events of the state root and its daemon."""

from __future__ import annotations

from typing import Literal

from kheish.state.event import Event, frozen


@frozen
class DefinitionChanged(Event):
    kind = "definition.changed"
    stream = "daemon"
    headline = "{change}: {path}"
    path: str
    definition: str  # routes | personas | …; `config` and `permissions` for the two files at the top
    id: str
    change: Literal["added", "changed", "removed"]
    fields: tuple[str, ...] = ()
    digest: str | None = None


@frozen
class DefinitionManaged(Event):
    """A file belongs to a stack from now on; with `managed_by` null, to none."""

    kind = "definition.managed"
    stream = "daemon"
    path: str
    managed_by: str | None
    digest: str | None = None  # of the file, as the stack has it


@frozen
class DaemonStarted(Event):
    kind = "daemon.started"
    stream = "daemon"
    headline = "daemon started"
    version: str
    recovered: int = 0  # log groups that were not committed yet
    repaired_bytes: int = 0  # torn last line of the log, removed


@frozen
class DaemonStopped(Event):
    kind = "daemon.stopped"
    stream = "daemon"
    headline = "daemon stopped"
    reason: str


@frozen
class DaemonPaused(Event):
    kind = "daemon.paused"
    stream = "daemon"
    headline = "daemon paused"
    route: str | None = None  # None: everything


@frozen
class DaemonResumed(Event):
    kind = "daemon.resumed"
    stream = "daemon"
    headline = "daemon resumed"
    route: str | None = None


@frozen
class FilesPutBack(Event):
    """A restore of daemon files that were changed or removed from outside, from the last commit and the log."""

    kind = "files.put_back"
    stream = "daemon"
    headline = "put back {count}"
    paths: tuple[str, ...]

    @property
    def count(self) -> str:
        """The number of files in words."""
        return f"{len(self.paths)} {'file' if len(self.paths) == 1 else 'files'}"
