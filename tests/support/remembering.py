"""The memory of runs over a State in a test's own process: what is written is at once in force."""

from __future__ import annotations

from typing import Any

from kheish.runtime.memory.catalog import Catalog
from kheish.runtime.memory.keeper import Committed, Keeper
from kheish.runtime.memory.recall import Memory
from kheish.state.state import State


def memory(state: State, committed: list[Committed] | None = None) -> Memory:
    """Return a memory whose files are read; `committed` gets the changes to commit."""
    catalog, changes = Catalog(), committed if committed is not None else []
    catalog.loaded.set()
    ignored: dict[str, Any] = {"expect": lambda path, digest: None, "wrote": lambda path: None, "held": lambda: None}
    keeper = Keeper(state, catalog, commit=changes.append, **ignored)
    return Memory(keeper, exceeded=lambda session_id, paths: None)
