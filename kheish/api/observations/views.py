"""Observations as callers get them: the record, with its content, its state and its uses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from kheish.api.http.answer import Answer
from kheish.domain.events import ObservationKind
from kheish.domain.observations import observation as observations
from kheish.domain.observations.observation import Observation
from kheish.domain.observations.source import Source
from kheish.errors import KheishError
from kheish.runtime.observations.service import Observations
from kheish.state.state import State

#: characters of a text in a list
CUT = 4000
_USES = 20


class Materialization(Answer):
    """A run or a Flow that got an observation."""

    session_id: str
    run_id: str | None
    flow_id: str | None
    by: str
    at: str


class ObservationView(Answer):
    """A captured record from an outside source."""

    observation_id: str
    source: str
    kind: ObservationKind
    captured_at: str
    received_at: str
    received_by: str
    stream: str | None
    sequence: int | None
    group: str | None
    asset_id: str | None
    """The asset that has its content."""
    media_type: str | None
    bytes: int
    text: str | None
    """Its text, or the text that was derived from it; in a list, its beginning."""
    truncated: bool
    """Whether `text` is its beginning only."""
    metadata: dict[str, Any]
    state: Literal["retained", "purged"]
    """`purged`: the content is gone, and the record stays."""
    why: str | None
    """The reason why a kept content has no text here."""
    materializations: list[Materialization]
    """The newest runs and Flows that got it."""
    number: int
    """Its place in the source, from 1."""
    n: int


async def shown(state: State, service: Observations, found: Sequence[Observation], *, cut: int | None) -> list[Any]:
    """Return observations as callers get them; `cut`: the most characters of a text."""
    sources: dict[str, Source] = {}
    for one in found:
        if one.source not in sources:
            sources[one.source] = await service.keeper.source(one.source)
    uses = await asyncio.to_thread(lambda: [_uses(state, one.observation_id) for one in found])
    return [
        await _shown(service, one, sources[one.source], used, cut=cut) for one, used in zip(found, uses, strict=True)
    ]


async def _shown(
    service: Observations, one: Observation, source: Source, used: list[dict[str, Any]], *, cut: int | None
) -> dict[str, Any]:
    is_retained = observations.is_retained(one, source)
    text, why, metadata = None, None, dict(one.metadata)
    if is_retained:
        try:
            content = await service.keeper.content(one)
            if content is not None:
                metadata = content.metadata if content.metadata is not None else metadata
                text = content.text
            if one.asset_id is not None:
                text, why = await service.keeper.derived_text(one.asset_id)
        except KheishError as error:
            why = error.detail
    whole = text
    if text is not None and cut is not None:
        text = text[:cut]
    return {
        "observation_id": one.observation_id,
        "source": one.source,
        "kind": one.kind,
        "captured_at": one.captured_at,
        "received_at": one.received_at,
        "received_by": one.received_by,
        "stream": one.stream,
        "sequence": one.sequence,
        "group": one.group,
        "asset_id": one.asset_id if is_retained else None,
        "media_type": one.media_type,
        "bytes": one.bytes,
        "text": text,
        "truncated": text != whole,
        "metadata": metadata,
        "state": "retained" if is_retained else "purged",
        "why": why,
        "materializations": used,
        "number": one.number,
        "n": one.n,
    }


def _uses(state: State, observation_id: str) -> list[dict[str, Any]]:
    """Return the newest uses of an observation. Blocks on disk."""
    page = state.index.things("observation_use", limit=_USES, fields={"observation_id": observation_id})
    names = ("session_id", "run_id", "flow_id", "by", "at")
    return [{name: doc[name] for name in names} for doc in page.items if doc["session_id"] not in state.deleted]
