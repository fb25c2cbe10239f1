"""Uses of observations: the runs and Flows that got them. They follow from the entries of a session."""

from __future__ import annotations

from collections.abc import Iterable

from kheish.domain import events
from kheish.domain.events import Entry, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun


@frozen
class ObservationUse(View):
    """A run or a Flow that got an observation."""

    shown_as = "ObservationUse"
    use_id: str
    observation_id: str
    session_id: str
    run_id: str | None
    flow_id: str | None
    by: str
    at: str
    made: int
    n: int


def fold(table: dict[str, ObservationUse], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    flow_id: str | None = None
    match entry.event:
        case events.RunSubmitted(request=request, flow=flow):
            given = [id for item in request.items for id in item.observation_ids]
            flow_id = flow["flow_id"] if flow is not None else None
        case events.FlowStarted(observation_ids=observation_ids):
            given = list(observation_ids)
            flow_id = entry.event.flow_id
        case _:
            return ()
    ids = []
    for observation_id in dict.fromkeys(given):
        use_id = f"{entry.session} {entry.run or flow_id} {observation_id}"
        table[use_id] = ObservationUse(
            use_id=use_id,
            observation_id=observation_id,
            session_id=entry.session,
            run_id=entry.run,
            flow_id=flow_id,
            by=entry.actor,
            at=entry.at,
            made=entry.n,
            n=entry.n,
        )
        ids.append(use_id)
    return ids


NOUN = Noun(
    name="observation_use",
    cls=ObservationUse,
    folded=frozenset({events.RunSubmitted, events.FlowStarted}),
    fold=lambda tables, entry: fold(tables[ObservationUse], entry),
    keep=lambda _: False,
    view=lambda use: use,
    status=lambda _: "used",
    filters=("observation_id",),
)
