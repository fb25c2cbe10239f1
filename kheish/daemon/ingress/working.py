"""The sign in Slack that the agent works: a status of the thread while a run of a message there is active.

It is a courtesy: nothing is journaled, and a refusal (an app without the scope) ends the attempts until the file
changes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kheish.daemon.ingress.credentials import Credentials
from kheish.daemon.ingress.origins import receipt_of
from kheish.daemon.spawning import spawn
from kheish.domain import events
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.events import Entry
from kheish.domain.runs import Run
from kheish.errors import KheishError, PlatformRefused
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

_TEXT = "is working…"
#: seconds after which it is set again; Slack removes it after two minutes
_REFRESH = 60.0
_SECONDS = 10.0
_STARTS = (events.RunStarted, events.RunResumed)
_STOPS = (
    events.RunWaiting, events.RunRequeued, events.RunCompleted, events.RunFailed, events.RunCancelled,
    events.RunInterrupted,
)  # fmt: skip
HEARD = (*_STARTS, *_STOPS)


@dataclass(slots=True)
class _Shown:
    """A status in a thread, and the time at which it is set again."""

    connector_id: str
    place: Mapping[str, Any]
    due: float


class Working:
    """The statuses of all active runs that came in by Slack."""

    def __init__(self, state: State, credentials: Credentials) -> None:
        self._state = state
        self._credentials = credentials
        self._shown: dict[str, _Shown] = {}
        self._active: set[str] = set()
        self._refused: dict[str, str] = {}  # by connector: the digest of the file

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Follow the beginnings and ends of runs."""
        for item in batch:
            if isinstance(item.entry.event, _STARTS):
                self._begin(item.entry)
            elif isinstance(item.entry.event, _STOPS) and item.entry.run in self._active:
                self._active.discard(item.entry.run)
                spawn(self._end(item.entry.run))

    def _begin(self, entry: Entry) -> None:
        run = self._state.find(Run, entry.run or "")
        if run is not None and run.request.source == "slack":
            self._active.add(run.run_id)
            spawn(self._start(run.run_id))

    async def tick(self) -> None:
        """Set the statuses again that Slack would remove soon."""
        now = self._state.clock()
        for one in [one for one in self._shown.values() if one.due <= now]:
            one.due = now + _REFRESH
            spawn(self._refresh(one))

    async def _refresh(self, shown: _Shown) -> None:
        await self._set(shown, _TEXT)

    async def _start(self, run_id: str) -> None:
        try:
            receipt = await receipt_of(self._state, run_id)
        except KheishError:
            return
        if receipt is None or run_id not in self._active or "thread_ts" not in receipt["place"]:
            return
        shown = _Shown(receipt["connector"], receipt["place"], self._state.clock() + _REFRESH)
        if await self._set(shown, _TEXT):
            self._shown[run_id] = shown
        if run_id not in self._active:  # it ended meanwhile
            await self._end(run_id)

    async def _end(self, run_id: str) -> None:
        shown = self._shown.pop(run_id, None)
        if shown is not None:
            await self._set(shown, "")

    async def _set(self, shown: _Shown, text: str) -> bool:
        """Set a status, and return whether Slack took it."""
        found = self._state.definitions.by_kind["connectors"].get(shown.connector_id)
        if found is None or self._refused.get(found.id) == found.digest:
            return False
        file: ConnectorFile = found.value
        body = {"channel_id": shown.place["channel"], "thread_ts": shown.place["thread_ts"], "status": text}
        try:
            await self._credentials.slack(found.id, file).call("assistant.threads.setStatus", body, seconds=_SECONDS)
        except PlatformRefused as error:
            self._refused[found.id] = found.digest
            log.info("Slack shows no status for the connector %s: %s", found.id, error.detail)
        except KheishError as error:
            log.debug("a status was not set: %s", error.detail)
        else:
            return True
        return False
