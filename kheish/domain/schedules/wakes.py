"""Wakes: an agent asks for a run of its own session at a time. They live in the session's journal, and go with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Literal

from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.runs.run import Run, is_unattended
from kheish.domain.shown import View
from kheish.state.noun import Noun, Tables

if TYPE_CHECKING:
    from kheish.state.state import State

#: pending wakes and schedules of one session
MOST = 32


@frozen
class Wake:
    """A wake as recorded in the journal."""

    wake_id: str
    session_id: str
    at: str
    note: str
    status: Literal["pending", "fired", "cancelled"]
    made: int
    n: int
    run_id: str | None = None
    reason: str | None = None
    unattended: bool = False  # no person attends the run that set it


FOLDED = (events.WakeSet, events.WakeFired, events.WakeCancelled)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    table: dict[str, Wake] = tables[Wake]
    assert entry.session is not None
    match entry.event:
        case events.WakeSet(wake_id=id, at=at, note=note):
            table[id] = Wake(
                wake_id=id, session_id=entry.session, at=at, note=note, status="pending", made=entry.n, n=entry.n,
                unattended=is_unattended(tables[Run], entry),
            )  # fmt: skip
            return (id,)
        case events.WakeFired(wake_id=id, run_id=run_id, reason=reason) if id in table:
            table[id] = changed(table[id], status="fired", run_id=run_id, reason=reason, n=entry.n)
            return (id,)
        case events.WakeCancelled(wake_id=id) if id in table:
            table[id] = changed(table[id], status="cancelled", n=entry.n)
            return (id,)
        case _:
            return ()


@frozen
class WakeView(View):
    """A wake of a session."""

    wake_id: str
    session_id: str
    at: str
    note: str
    status: Literal["pending", "fired", "cancelled"]
    run_id: str | None
    """The run that it led to."""
    reason: str | None
    """The reason why it led to none."""
    n: int


def view(wake: Wake) -> WakeView:
    """Return the wake as the index has it."""
    return WakeView(**{one.name: getattr(wake, one.name) for one in fields(WakeView)})


NOUN = Noun(
    name="wake",
    cls=Wake,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=lambda wake: wake.status == "pending",
    view=view,
    filters=(),
)


def pending(state: State, session_id: str) -> list[Wake]:
    """Return the wakes of a loaded session that are still to come."""
    return [wake for wake in state.table(Wake, session_id).values() if wake.status == "pending"]
