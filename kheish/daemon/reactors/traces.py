"""Sends the traces of ended runs: a follower of the journals that keeps its position, so that nothing is sent twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from kheish.auth.broker import Broker
from kheish.authoring.problems import Problems
from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.errors import KheishError
from kheish.runtime.traces import export, spans
from kheish.runtime.traces.export import NotSent
from kheish.runtime.traces.span import Span
from kheish.settings import TraceSettings
from kheish.state.encoding import Recorded
from kheish.state.state import State
from kheish.store.files import atomic_write

log = logging.getLogger(__name__)

_PLACE = Path(".git", "kheish", "traces.json")
_ENDS = (events.RunCompleted, events.RunFailed, events.RunCancelled, events.RunInterrupted)
#: runs in one go, and lines of a run; a longer one is sent without the rest of its spans
_RUNS, _LINES = 20, 50_000
#: seconds before an attempt is repeated, at least and at most
_FIRST, _LONGEST = 2.0, 120.0
_PROBLEM, _REFUSED = "traces_not_sent", "traces_refused"
#: spans in one request: with content, some 16 MB at most
_CHUNK = 500


class Traces(Reactor):
    """Follows ends of runs by the index. Without an address to send to, it does nothing."""

    reacts_to = frozenset(_ENDS)

    def __init__(self, state: State, broker: Broker, problems: Problems) -> None:
        self._state = state
        self._broker = broker
        self._problems = problems
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sent = 0  # spans of the runs after the position: they come again in the same order

    async def start(self) -> None:
        """Continue after the last run that was sent; the first time, with the runs that end from now on."""
        self._wake.set()

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Look again after a run has ended."""
        if self._task is not None and any(isinstance(item.entry.event, _ENDS) for item in batch):
            self._wake.set()

    async def tick(self, now: str) -> None:
        """Begin to follow when there is an address, and stop when it is gone."""
        is_wanted = export.is_wanted(self._state.definitions.config.traces.endpoint)
        if is_wanted and self._task is None:
            if not export.is_installed():
                text = "Traces need the extra `otel`: pip install 'kheish[otel]', then restart the daemon."
                return self._problems.add(_PROBLEM, "", text, severity="warning")
            self._task = asyncio.create_task(self._follow())
        elif not is_wanted and self._task is not None:
            await self.close()
            await asyncio.to_thread((self._state.root / _PLACE).unlink, missing_ok=True)
            for code in (_PROBLEM, _REFUSED):
                self._problems.clear(code)
        return None

    async def close(self) -> None:
        """Stop; what was not sent is sent after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self) -> None:
        position, pause = await asyncio.to_thread(self._position), _FIRST
        while True:
            self._wake.clear()
            try:
                while (sent := await self._send(position)) > position:
                    position = sent
                    await asyncio.to_thread(self._note, position)
                self._problems.clear(_PROBLEM)
                pause = _FIRST
                await self._wake.wait()
            except (NotSent, KheishError, OSError) as error:
                reason = error.detail if isinstance(error, KheishError) else str(error)
                log.warning("traces cannot be sent: %s", reason)
                text = f"Traces cannot be sent: {reason}. They are kept, and sent again."
                self._problems.add(_PROBLEM, "", text, severity="warning")
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST)

    async def _send(self, position: int) -> int:
        """Send the next ended runs, and return the position behind them. Raises NotSent."""
        await self._state.caught_up()
        settings = self._state.definitions.config.traces
        made, position = await asyncio.to_thread(self._spans, position, settings.content)
        while chunk := made[self._sent : self._sent + _CHUNK]:
            try:
                await self._export(chunk, settings)
            except NotSent as error:
                if not error.is_final:
                    raise
                log.warning("%d spans are passed over: %s", len(chunk), error)
                text = f"The receiver of traces refuses some spans for good ({error}); they are passed over."
                self._problems.add(_REFUSED, "", text, severity="warning")
            self._sent += len(chunk)
        self._sent = 0
        return position

    async def _export(self, made: Sequence[Span], settings: TraceSettings) -> None:
        if settings.headers is None:
            return await asyncio.to_thread(export.send, made, settings.endpoint, None)
        async with self._broker.lease(("daemon:traces",), settings.headers, "daemon:traces", scope=()) as lease:
            return await asyncio.to_thread(export.send, made, settings.endpoint, lease.value)

    def _spans(self, position: int, content: bool) -> tuple[list[Span], int]:
        index, scrub, made = self._state.index, self._state.scrub, list[Span]()
        for n, _, line in index.events(position, limit=_RUNS, kinds=spans.FINAL):
            run = orjson.loads(line)
            rows = index.events(0, limit=_LINES, run=run["run"])
            lines: list[Mapping[str, Any]] = [
                orjson.loads(scrub(row.encode())) for number, _, row in rows if number <= n
            ]
            if not lines or lines[-1]["n"] != n:
                lines.append(run)
            made += spans.of(run["run"], run["session"], lines, content=content)
            position = n
        return made, position

    def _position(self) -> int:
        """Return the last event that was sent. Blocks on disk."""
        try:
            return int(orjson.loads((self._state.root / _PLACE).read_bytes())["n"])
        except FileNotFoundError:
            self._note(self._state.durable_n)
            return self._state.durable_n
        except (ValueError, KeyError):
            return self._state.durable_n

    def _note(self, position: int) -> None:
        atomic_write(self._state.root / _PLACE, orjson.dumps({"n": position}), fsync=True)
