"""The steps after each batch of the log: barriers open, the scribe writes, the next cut grows, listeners react.

One function call down (`submit`), facts up (`take`), always on the event loop; nothing here blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from kheish.daemon.next_cut import NextCut
from kheish.daemon.rows import grave, row
from kheish.domain import events
from kheish.domain.events import Entry
from kheish.domain.sessions import end as session_end
from kheish.state.encoding import Recorded
from kheish.state.state import Change, State
from kheish.store.bus import Bus, Frame
from kheish.store.log import wal
from kheish.store.log.wal import Group, Log
from kheish.store.pipes import Child, ChildGone

log = logging.getLogger(__name__)


class Batches:
    """Hands on each durable batch: to the state, the bus, the scribe, the next cut and the listeners, in this order."""

    def __init__(self, state: State, bus: Bus, log: Log, scribe: Child, next_cut: NextCut) -> None:
        self._state = state
        self._bus = bus
        self._log = log
        self._scribe = scribe
        self._next_cut = next_cut
        self._deleted: list[Entry] = []  # sessions, whose entries the log may still have
        self._is_gone = False  # the scribe, and the log reports it
        self.on_entries: list[Callable[[Sequence[Recorded]], None]] = []

    def take(self, groups: Sequence[Group], text: bytes) -> None:
        """Hand on a batch that is on disk."""
        entries, changes = self._state.made_durable(groups[-1].last)
        self._bus.publish([_frame(item) for item in entries])
        self._send("apply", text=text.decode(), things=[row(change) for change in changes])
        for item in entries:
            if isinstance(item.entry.event, events.SessionDeleted):
                self._forget(item.entry)
        self._next_cut.grow(entries, changes, sent=groups[-1].last)
        for listener in self.on_entries:
            listener(entries)

    def recovered(self, groups: Sequence[wal.Entries], committed: int, changes: Sequence[Change]) -> None:
        """Adopt, at the start, the log's entries above `committed`."""
        for _, line in (one for group in groups for one in group):
            if line["n"] > committed and line["kind"] == events.SessionDeleted.kind:
                self._forget(events.decode(line))
        self._next_cut.recovered(groups, committed, changes)

    def _forget(self, entry: Entry) -> None:
        """Make the scribe drop a deleted session's folder from the index."""
        tomb = session_end.tombstone(entry)
        self._deleted.append(entry)
        self._send("forget", session=tomb["session_id"], path=tomb["path"], things=[grave(tomb)])

    def _send(self, op: str, **payload: Any) -> None:
        try:
            self._scribe.send_nowait(op, **payload)
        except ChildGone:
            if not self._is_gone:
                log.error("the scribe is gone; restarting it")
            self._is_gone = True

    def hurry(self) -> None:
        """Make the scribe write to the index what it has gathered, since a reader waits for it."""
        self._send("write")

    def committed(self, n_to: int, commit: str, time: int) -> None:
        """Drop committed entries from the log: all up to `n_to`, except those of damaged journals."""
        self._log.drop(self._next_cut.committed(n_to))
        self._send("committed", commit=commit, n=n_to, time=time)

    async def revive(self) -> bool:
        """Restart the scribe after it was killed: it finds entries in the log, and is sent the rows that they led to.
        Return whether the index is whole."""
        await self._scribe.respawn()
        self._is_gone = False
        before = await self._scribe.request("start")
        for tomb in map(session_end.tombstone, self._deleted):  # the log has brought their entries back
            await self._scribe.request("forget", session=tomb["session_id"], path=tomb["path"], things=[grave(tomb)])
        # Batches came during these steps: what the index has from now on is taken in one step with its number.
        state = self._state
        durable = state.durable_n
        rows = [row(change) for change in state.unjournaled.values() if change.n <= durable]
        await self._scribe.request("things", things=rows, n=durable)
        state.made_journaled(durable)
        self._next_cut.ask_for_commit()
        return bool(before["whole"])


def _frame(item: Recorded) -> Frame:
    entry = item.entry
    return Frame(entry.n, entry.event.kind, entry.session, entry.run, item.line)
