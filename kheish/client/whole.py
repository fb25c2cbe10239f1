"""What the blocking client asks of the daemon as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeVar

from kheish.client import calls
from kheish.client.calls import Call
from kheish.client.shapes import FileProblem, Json, Page

T = TypeVar("T")


class Whole(ABC):
    """What concerns the daemon as a whole; `Kheish` has these as its own."""

    @abstractmethod
    def send(self, call: Call[T]) -> T:
        """Send one call of `kheish.client.calls`."""

    def status(self) -> Json:
        return self.send(calls.status())

    def problems(self) -> Page[FileProblem]:
        return self.send(calls.problems())

    def config(self) -> Json:
        return self.send(calls.config())

    def pause(self, route: str | None = None) -> Json:
        """Start no new step, of one route or at all."""
        return self.send(calls.pause(route))

    def resume(self, route: str | None = None, *, takeover: bool = False) -> Json:
        """Go on; `takeover` makes a restored root the one that the backup's remote belongs to."""
        return self.send(calls.resume(route, takeover))

    def state(self, what: Literal["put-back", "accept-rewind", "gc", "reindex"]) -> Json:
        """Do something to the state root as a whole (`kheish state`); how it went."""
        return self.send(calls.state(what))

    def backup(self) -> Json:
        """Push to the backup's remote now; how it went."""
        return self.send(calls.backup_push())

    def log(self, **query: object) -> Page[Json]:
        """The state root's commits, newest first."""
        return self.send(calls.state_log(query))

    def blame(self, path: str, *, at: str | None = None) -> Json:
        """Return the author and the commit of each line of a Definition."""
        return self.send(calls.state_blame(path, at))
