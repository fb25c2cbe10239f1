"""Pauses of all active goals: after a restore, and after a restart where the settings say so."""

from __future__ import annotations

import asyncio
import contextlib

from kheish.domain.goals import verbs
from kheish.errors import Damaged, NotFound
from kheish.state.state import State


async def pause_goals(state: State, why: str) -> None:
    """Pause all active goals, so that each needs a person to resume it."""
    for session_id in await asyncio.to_thread(state.index.sessions_with, "goal", ("active",)):
        with contextlib.suppress(Damaged, NotFound):  # a damaged session is reported elsewhere, and does nothing
            async with state.using(session_id):
                if verbs.get(state, session_id).status == "active":  # the index may be behind
                    state.append(*verbs.pause(state, session_id, why, by="daemon"))
