"""Rows of the index: changes and tombstones as the scribe writes them."""

from __future__ import annotations

from typing import Any

import orjson

from kheish.state.state import Change


def row(change: Change) -> list[Any]:
    """Return a change as a row of the index."""
    value = change.value
    status = change.noun.status(value)
    doc = orjson.dumps(change.noun.view(value)).decode() if change.noun.view else "{}"
    return [change.noun.name, change.id, change.session, status, value.made, change.n, doc, change.noun.kept(value)]


def grave(tomb: dict[str, Any]) -> list[Any]:
    """Return a tombstone as a row of the index."""
    return ["tombstone", tomb["session_id"], None, None, tomb["made"], tomb["n"], orjson.dumps(tomb).decode(), None]
