"""Connectors: loops start and end with their files, and messages with buttons follow approvals and questions."""

from __future__ import annotations

from collections.abc import Sequence

from kheish.authoring.problems import Problems
from kheish.daemon.ingress import asking, working
from kheish.daemon.ingress.setup import Ingress as Service
from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.runtime.connectors import installed
from kheish.state.encoding import Recorded


class Ingress(Reactor):
    """The reactor of connectors."""

    reacts_to = frozenset((events.DefinitionChanged, *asking.HEARD, *working.HEARD))

    def __init__(self, service: Service, problems: Problems) -> None:
        self._service = service
        self._problems = problems
        self._is_ready = False

    async def prepare(self) -> None:
        """Import the kinds of installed packages."""
        for one in await installed.load():
            self._problems.add("connector_package", "", f"the package {one.entry_point} is left out: {one.why}")

    async def start(self) -> None:
        """Start the loops, and continue open messages."""
        self._is_ready = True
        await self._service.asking.start()
        self._service.fetching.start()

    def heard(self, batch: Sequence[Recorded]) -> None:
        """React to changed files, and to requests for decisions."""
        for item in batch:
            match item.entry.event:
                case events.DefinitionChanged(definition="connectors", id=id) if self._is_ready:
                    self._service.fetching.apply(id)
        self._service.asking.heard(batch)
        self._service.working.heard(batch)

    async def tick(self, now: str) -> None:
        """Repeat messages that could not be sent, and audit the number of refused requests."""
        self._service.receiving.rejections.flush()
        await self._service.asking.tick()
        await self._service.working.tick()

    async def close(self) -> None:
        """End the loops."""
        self._is_ready = False
        self._service.receiving.rejections.flush(all=True)
        await self._service.fetching.close()
