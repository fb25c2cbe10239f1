"""Memory as runs use it: the writer, and the section of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kheish import ids
from kheish.domain.events import Spilled
from kheish.domain.memory.records import RunRecords
from kheish.domain.runs import Run
from kheish.runtime.memory import scopes, section
from kheish.runtime.memory.keeper import Keeper
from kheish.runtime.memory.section import Recalled

_QUERY = 4000  # characters of a task


class Memory:
    """The memory of all runs. `exceeded(session_id, paths)` gets the users' texts that do not fit into a prompt."""

    def __init__(self, keeper: Keeper, *, exceeded: Callable[[str, tuple[str, ...]], None]) -> None:
        self.keeper = keeper
        self._exceeded = exceeded

    async def of_run(self, run: Run) -> Recalled:
        """Return the section for the next prompt of a run; its session is loaded."""
        return await self.recall(run.session_id, run.settings.persona, _task(run))

    async def recall(self, session_id: str, persona: Mapping[str, Any] | None, query: str) -> Recalled:
        """Return the section for a prompt of a loaded session."""
        state, catalog = self.keeper.state, self.keeper.catalog
        await catalog.loaded.wait()
        known = state.table(RunRecords, session_id).get(session_id)
        is_on = state.definitions.config.memory.run_records == "on"
        kept = known.records if known is not None and is_on else ()
        places = scopes.of_session(state, session_id, persona)
        recalled = section.make(catalog, places, kept, query[:_QUERY], ids.stamp(state.clock()))
        self._exceeded(session_id, recalled.left_out)
        return recalled


def _task(run: Run) -> str:
    texts = (item.text for item in run.request.items)
    return " ".join(text.preview if isinstance(text, Spilled) else text for text in texts if text is not None)
