"""Fires: each occurrence of a schedule with its outcome. The state machine is the table MOVES."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from kheish.domain import events
from kheish.domain.events import Entry, Event, changed, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun


class FireState(StrEnum):
    """The states of a fire."""

    CLAIMED = "claimed"
    DISPATCHED = "dispatched"
    RETRYING = "retrying"
    SKIPPED = "skipped"
    SETTLED = "settled"
    FAILED = "failed"


OPEN = frozenset({FireState.CLAIMED, FireState.DISPATCHED, FireState.RETRYING})
FINAL = frozenset(FireState) - OPEN

#: (state, event) → the possible new states; None is the state before the first event. A missing key is ignored
MOVES: Mapping[tuple[FireState | None, type[Event]], frozenset[FireState]] = {
    (None, events.FireClaimed): frozenset({FireState.CLAIMED}),
    (None, events.FireSkipped): frozenset({FireState.SKIPPED}),
    (FireState.CLAIMED, events.FireDispatched): frozenset({FireState.DISPATCHED}),
    (FireState.CLAIMED, events.FireDelayed): frozenset({FireState.RETRYING}),
    (FireState.CLAIMED, events.FireSettled): frozenset({FireState.FAILED, FireState.SKIPPED}),
    (FireState.RETRYING, events.FireDispatched): frozenset({FireState.DISPATCHED}),
    (FireState.RETRYING, events.FireDelayed): frozenset({FireState.RETRYING}),
    (FireState.RETRYING, events.FireSettled): frozenset({FireState.FAILED, FireState.SKIPPED}),
    (FireState.DISPATCHED, events.FireSettled): frozenset({FireState.SETTLED, FireState.FAILED}),
}


@frozen
class Fire:
    """A fire as recorded in the journal."""

    fire_id: str
    schedule_id: str
    planned: str
    state: FireState
    made: int
    n: int
    reason: str | None = None
    session_id: str | None = None
    run_id: str | None = None
    flow_id: str | None = None
    attempt: int = 0
    retry_at: str | None = None
    by: str | None = None
    is_late: bool = False
    until: str | None = None
    claimed_at: str | None = None
    ended_at: str | None = None
    message_id: str | None = None

    @property
    def is_final(self) -> bool:
        """Return whether nothing can happen to it any more."""
        return self.state in FINAL


FOLDED = (events.FireClaimed, events.FireDispatched, events.FireDelayed, events.FireSkipped, events.FireSettled)


def fire_id(schedule_id: str, planned: str) -> str:
    """Return the id of a fire; it is the key of its claim."""
    return f"{schedule_id}@{planned}"


def fold(table: dict[str, Fire], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    if isinstance(event, events.FireSkipped):
        return _fold_skipped(table, event, entry)
    id = fire_id(event.schedule_id, event.planned)
    old = table.get(id)
    if isinstance(event, events.FireClaimed):
        table[id] = Fire(
            fire_id=id, schedule_id=event.schedule_id, planned=event.planned, state=FireState.CLAIMED, made=entry.n,
            n=entry.n, by=entry.actor if event.by_hand else None, is_late=event.is_late, claimed_at=entry.at,
        )  # fmt: skip
        return (id,)
    if old is None or (old.state, type(event)) not in MOVES:
        return ()
    table[id] = changed(old, n=entry.n, **_fold_change(event, entry.at))
    return (id,)


def _fold_skipped(table: dict[str, Fire], event: events.FireSkipped, entry: Entry) -> list[str]:
    spans = [(planned, None) for planned in event.planned]
    if event.earlier is not None:
        spans.insert(0, event.earlier)  # type: ignore[arg-type]  # a range has an end
    ids = []
    for planned, until in spans:
        id = fire_id(event.schedule_id, planned)
        table[id] = Fire(
            fire_id=id, schedule_id=event.schedule_id, planned=planned, state=FireState.SKIPPED, made=entry.n,
            n=entry.n, reason=event.reason, until=until, ended_at=entry.at,
        )  # fmt: skip
        ids.append(id)
    return ids


def _fold_change(event: Event, at: str) -> dict[str, Any]:
    match event:
        case events.FireDispatched(session_id=session_id, run_id=run_id, flow_id=flow_id, message_id=message_id):
            return {
                "state": FireState.DISPATCHED, "session_id": session_id, "run_id": run_id, "flow_id": flow_id,
                "message_id": message_id, "reason": None, "retry_at": None,
            }  # fmt: skip
        case events.FireDelayed(attempt=attempt, until=until, reason=reason):
            return {"state": FireState.RETRYING, "attempt": attempt, "retry_at": until, "reason": reason}
        case events.FireSettled(state=state, reason=reason):
            return {"state": FireState(state), "reason": reason, "ended_at": at, "retry_at": None}
        case _:
            return {}


@frozen
class FireView(View):
    """An occurrence of a schedule, with its outcome."""

    fire_id: str
    """`<schedule>@<planned>`."""
    schedule_id: str
    planned: str
    """The planned time; for a trigger, the time of the request."""
    state: str
    """claimed, dispatched, retrying, skipped, settled or failed."""
    reason: str | None
    """The reason why it was skipped, is retried, or failed."""
    session_id: str | None
    run_id: str | None
    """The run that it started."""
    flow_id: str | None
    """The Flow that it started."""
    attempt: int
    """The failed attempts to start it."""
    retry_at: str | None
    by: str | None
    """The caller who triggered it; null for an occurrence."""
    is_late: bool
    """Whether it makes up for missed occurrences."""
    until: str | None
    """For a range of occurrences that were skipped together: the last of them."""
    claimed_at: str | None
    ended_at: str | None
    made: int
    n: int
    message_id: str | None = None
    """The message that it posted in a channel."""


def view(fire: Fire) -> FireView:
    """Return the fire as the API and the index show it."""
    return FireView(**{one.name: getattr(fire, one.name) for one in fields(FireView)})


def read(doc: Mapping[str, Any]) -> Fire:
    """Return the fire in a document of the index."""
    return Fire(**{**doc, "state": FireState(doc["state"])})


NOUN = Noun(
    name="fire",
    cls=Fire,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Fire], entry),
    keep=lambda fire: not fire.is_final,
    view=view,
    status=lambda fire: str(fire.state),
    filters=("run_id", "flow_id", "message_id"),
    read=read,
)
