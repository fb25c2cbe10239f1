"""References of assets: the runs, evidence and calls that use one. They follow from the entries of a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from kheish.domain import events
from kheish.domain.assets.asset import is_id
from kheish.domain.events import Entry, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun

STORE = "store_asset"
Kind = Literal["run", "message", "evidence", "tool_call", "fork", "output"]


@frozen
class AssetReference(View):
    """A user of an asset."""

    shown_as = "AssetUse"
    reference_id: str
    asset_id: str
    session_id: str
    kind: Kind
    id: str
    """The id of the run, message, evidence or output; of a call, `RUN/CALL`; of a fork, the session whose messages it
    has."""
    run_id: str | None
    at: str
    made: int
    n: int


FOLDED = (
    events.SessionForked,
    events.RunSubmitted,
    events.MessageDelivered,
    events.EvidenceAttached,
    events.ToolFinished,
    events.OutputEmitted,
)


def fold(table: dict[str, AssetReference], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    ids = []
    for kind, id, asset_id in _uses(entry):
        reference_id = f"{entry.session} {kind} {id} {asset_id}"
        table[reference_id] = AssetReference(
            reference_id=reference_id,
            asset_id=asset_id,
            session_id=entry.session,
            kind=kind,
            id=id,
            run_id=entry.run,
            at=entry.at,
            made=entry.n,
            n=entry.n,
        )
        ids.append(reference_id)
    return ids


def _uses(entry: Entry) -> Iterator[tuple[Kind, str, str]]:
    """Yield what uses an asset by this entry: its kind, its id, and the asset."""
    run = entry.run or ""
    match entry.event:
        case events.SessionForked(origin=origin, asset_ids=asset_ids):
            for asset_id in asset_ids:
                yield "fork", origin, asset_id
        case events.RunSubmitted(request=request):
            for asset_id in dict.fromkeys(item.asset_id for item in request.items if item.asset_id):
                yield "run", run, asset_id
        case events.MessageDelivered(message_id=message_id, items=items):
            for asset_id in dict.fromkeys(item.asset_id for item in items if item.asset_id):
                yield "message", message_id, asset_id
        case events.EvidenceAttached(evidence_kind="asset", evidence_id=id, ref=ref) if ref is not None and is_id(ref):
            yield "evidence", id, ref
        case events.OutputEmitted(output_id=id, artifacts=artifacts):
            for asset_id in dict.fromkeys(one.asset_id for one in artifacts):
                yield "output", id, asset_id
        case events.ToolFinished(tool=tool, call_id=call_id, detail={"asset_id": str(asset_id)}) if tool == STORE:
            yield "tool_call", f"{run}/{call_id}", asset_id


NOUN = Noun(
    name="asset_reference",
    cls=AssetReference,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[AssetReference], entry),
    keep=lambda _: False,
    view=lambda reference: reference,
    status=lambda reference: reference.kind,
    filters=("asset_id",),
)
