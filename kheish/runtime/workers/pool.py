"""The workers of a daemon: one connection to each, made on use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kheish.errors import NotFound, WorkerUnreachable
from kheish.runtime.workers.carrier import Carrier, Stream
from kheish.runtime.workers.connection import Connection, Health
from kheish.runtime.workers.jobs import FarJobs

#: how to find the carrier of a worker; it raises NotFound for one that is not defined
Find = Callable[[str], Carrier]


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms on which commands run on a worker: whether they are confined or else do not run, and how many run at
    the same time (None: no limit)."""

    sandbox: Literal["required", "off"] = "required"
    jobs: int | None = None


CONFINED = Terms()


class Workers:
    """The connections by worker id. `home` names the state root on all of them (see `home_of`)."""

    def __init__(self, find: Find, home: str, terms: Callable[[str], Terms] = lambda worker: CONFINED) -> None:
        self._find = find
        self.terms = terms
        self.home = home
        self.on_connected: list[Callable[[str], None]] = []
        self._links: dict[str, Connection] = {}

    def link(self, worker: str) -> Connection:
        """Return the connection to a worker. Raises NotFound."""
        found = self._links.get(worker)
        if found is None:
            found = self._links[worker] = Connection(worker, self._find(worker), self.home)
            found.watch(lambda health: self._greet(worker) if health.status == "connected" else None)
        return found

    def _greet(self, worker: str) -> None:
        for told in self.on_connected:
            told(worker)

    def jobs(self, worker: str) -> FarJobs:
        """Return the jobs of a worker. Raises NotFound."""
        return FarJobs(self.link(worker), self.terms(worker).jobs)

    def health(self) -> Mapping[str, Health]:
        """Return the state of each connection that was used."""
        return {worker: link.health for worker, link in self._links.items()}

    def open_calls(self, worker: str) -> int:
        """Return the number of calls that are open on a worker."""
        link = self._links.get(worker)
        return link.open_calls if link is not None else 0

    async def renew(self, worker: str) -> None:
        """Use the worker's definition, which has changed: runs that wait for it, or work there, continue by its new
        address. Without a definition, the connection ends; the worker's jobs continue."""
        link = self._links.get(worker)
        if link is None:
            return
        try:
            carrier = self._find(worker)
        except NotFound as error:
            del self._links[worker]
            await link.close(error.detail)
        except WorkerUnreachable as error:
            await link.reroute(_Disabled(error.detail))
        else:
            await link.reroute(carrier)

    async def close(self) -> None:
        """Close all connections."""
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.close() for link in links))


@dataclass(frozen=True, slots=True)
class _Disabled:
    """The carrier of a disabled worker: what waits for it waits until its file enables it."""

    why: str
    kind: str = "disabled"

    async def open(self) -> Stream:
        """Raise WorkerUnreachable."""
        raise WorkerUnreachable(self.why)


def none(worker: str) -> Carrier:
    """Report that no worker is defined."""
    raise NotFound(f"There is no worker {worker!r}; define it in workers/{worker}.yaml.")


def home_of(root: Path) -> str:
    """Return the name of a state root on workers: random, made once, and not copied with git. Blocks on disk."""
    path = root / ".kheish" / "worker-home"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        name = f"home-{os.urandom(8).hex()}"
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(name)
        temporary.replace(path)
        return name
