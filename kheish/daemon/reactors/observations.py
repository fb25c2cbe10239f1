"""SourceRetention of observations, which runs by itself; problems of sources that are silent for too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from kheish import ids
from kheish.authoring.problems import Problems
from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.domain.definitions import Definition
from kheish.domain.observations import observation as observations, retention
from kheish.domain.observations.definition import SourceFile, SourceRetention
from kheish.errors import KheishError, StoreFailed
from kheish.runtime.observations import purging
from kheish.runtime.observations.service import Observations as Service
from kheish.state.encoding import Recorded
from kheish.state.state import State
from kheish.store import observations as store

log = logging.getLogger(__name__)

SILENT = "source_silent"
_FAILED = "retention_failed"
_RETRY = 60.0  # seconds after a purge that failed


class Observations(Reactor):
    """Purges what exceeds the retention of each source, and reports silent sources."""

    reacts_to = frozenset((events.ObservationsStored,))

    def __init__(self, state: State, service: Service, problems: Problems) -> None:
        self._state = state
        self._service = service
        self._problems = problems
        self._touched: set[str] = set()
        self._due: dict[str, float] = {}  # when the oldest content of a source reaches its age
        self._checked: dict[str, str] = {}  # the digest of each file whose retention was applied
        self._silent: set[str] = set()
        self._began = state.clock()
        self._task: asyncio.Task[None] | None = None
        self._named: Mapping[str, Sequence[str]] = {}

    async def prepare(self) -> None:
        """List the keys that an earlier daemon left."""
        self._named = await asyncio.to_thread(store.keys, self._state.root)

    async def start(self) -> None:
        """Delete the keys of what is purged."""
        if self._named:
            await purging.drop_old_keys(self._service.keeper, self._named)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Note the sources that sent something."""
        for item in batch:
            if isinstance(item.entry.event, events.ObservationsStored):
                self._touched.add(item.entry.event.source)

    async def tick(self, now: str) -> None:
        """Begin the purges that are due, and compare the silence of sources with what is expected."""
        files = self._state.definitions.by_kind["sources"]
        seconds = ids.seconds_of(now)
        await self._report_silence(files, seconds)
        if self._task is not None and not self._task.done():
            return
        due = [id for id, one in files.items() if self._is_due(one, seconds)]
        self._touched.clear()
        for id in [*self._checked]:
            if id not in files:
                self._checked.pop(id)
                self._due.pop(id, None)
        if due:
            self._task = asyncio.create_task(self._purge_all(due), name="retention")

    async def close(self) -> None:
        """Stop; the next start continues."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _is_due(self, one: Definition, now: float) -> bool:
        limits = one.value.retention
        if limits.age is None and limits.count is None and limits.bytes is None:
            self._checked[one.id] = one.digest
            return False
        return (
            self._checked.get(one.id) != one.digest
            or self._due.get(one.id, now + 1) <= now
            or (
                one.id in self._touched
                and (one.id not in self._due or limits.count is not None or limits.bytes is not None)
            )
        )

    async def _purge_all(self, source_ids: Sequence[str]) -> None:
        for source_id in source_ids:
            one = self._state.definitions.by_kind["sources"].get(source_id)
            if one is not None:
                await self._purge(one, one.value)

    async def _purge(self, one: Definition, file: SourceFile) -> None:
        keeper, limits = self._service.keeper, file.retention
        self._checked[one.id] = one.digest
        try:
            while True:
                source = await keeper.source(one.id)
                is_old = limits.age is not None and source.retained > 0
                if not is_old and not retention.is_exceeded(limits, source):
                    break
                if not await purging.purge(keeper, one.id, limits):
                    break
                self._service.shower.forget()
            await self._note_age(one.id, limits)
        except StoreFailed:
            raise
        except (KheishError, OSError) as error:
            detail = error.detail if isinstance(error, KheishError) else str(error)
            log.warning("the retention of the source %s failed: %s", one.id, detail)
            self._problems.add(_FAILED, one.path, f"its retention could not be applied: {detail}")
            self._due[one.id] = self._state.clock() + _RETRY
        else:
            self._problems.clear(_FAILED, one.path)

    async def _note_age(self, source_id: str, limits: SourceRetention) -> None:
        """Note when the oldest content of a source reaches its age."""
        self._due.pop(source_id, None)
        if limits.age is None:
            return
        source = await self._service.keeper.source(source_id)
        place = {"place": observations.place(source_id, source.purged + 1)}
        page = await asyncio.to_thread(self._state.index.things, "observation", limit=1, fields=place)
        if page.items:
            self._due[source_id] = ids.seconds_of(page.items[0]["received_at"]) + ids.duration(limits.age)

    async def _report_silence(self, files: Mapping[str, Definition], now: float) -> None:
        silent = set[str]()
        for id, one in files.items():
            if one.value.expect_every is None:
                continue
            source = await self._service.keeper.source(id)
            last = ids.seconds_of(source.last_received_at) if source.last_received_at is not None else self._began
            if now - max(last, 0.0) > ids.duration(one.value.expect_every):
                silent.add(one.path)
                since = source.last_received_at or "its file was added"
                text = f"expects an observation every {one.value.expect_every}, and none came since {since}"
                if one.path not in self._silent:
                    self._problems.add(SILENT, one.path, text, severity="warning")
        for path in self._silent - silent:
            self._problems.clear(SILENT, path)
        self._silent = silent
