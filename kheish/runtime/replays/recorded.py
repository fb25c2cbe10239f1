"""The recording behind a route of the `replay` driver: the run that a run repeats, and its next answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Turn
from kheish.runtime.agent import Agent
from kheish.runtime.drivers.base import ModelError, Request
from kheish.runtime.replays import comparing, marks
from kheish.runtime.replays.marks import Mark, Side
from kheish.state.state import State

#: the metadata of a run with the id of the run that it repeats
META = "replay"
#: runs of a session that are looked through
_RUNS = 1000


async def prepared(state: State, run: Run, turn: Turn, agent: Agent, request: Request) -> Request:
    """Return the request with the recorded answer, or with the difference that refuses it, in its settings.

    Raises ModelError if there is no recording.
    """
    if state.get(Session, run.session_id).settings["inherited"] is not None:
        raise ModelError("refused", "an agent's task cannot be replayed: only users choose a recording")
    await state.durable()
    await state.caught_up()
    ours = Side(run.run_id, state.sessions[run.session_id].path, run.settings.workspace)
    recorded = await asyncio.to_thread(_find, state, request.model or "", run)
    if isinstance(recorded, str):
        raise ModelError("refused", recorded)
    driven = agent.driven(run)
    mark = driven.replayed if driven.replayed is not None and driven.replayed.turn == turn.turn else None
    settings, driven.replayed = await asyncio.to_thread(_compare, state, recorded, ours, turn.turn, mark)
    return replace(request, settings={**request.settings, META: settings})


def _find(state: State, session_id: str, run: Run) -> Side | str:
    """Return the recorded run, or why there is none: the named one, or the one of the same number in its session."""
    session = state.index.thing("session", session_id)
    if session is None:
        return f"there is no session {session_id!r} to replay; choose it as the model: `route: replay/SESSION`"
    if session_id == run.session_id:
        return "a session cannot replay itself"
    wanted = run.request.metadata.get(META)
    recorded = _runs(state, session_id)
    if isinstance(wanted, str):
        side = next((one for one in recorded if one["run_id"] == wanted), None)
    else:
        number = sum(one["run_id"] < run.run_id for one in _runs(state, run.session_id))
        side = recorded[number] if number < len(recorded) else None
    if side is None:
        return f"the session {session_id!r} has {len(recorded)} recorded runs, and none for this one"
    return Side(side["run_id"], session["path"], side["settings"]["workspace"])


def _runs(state: State, session_id: str) -> list[dict[str, Any]]:
    """Return the runs of a session, oldest first: their ids have that order."""
    page = state.index.things("run", limit=_RUNS, session=session_id)
    return sorted(page.items, key=lambda one: str(one["run_id"]))


def _compare(
    state: State, recorded: Side, ours: Side, turn: int, mark: Mark | None
) -> tuple[dict[str, Any], Mark | None]:
    """Return `{"answer": …}` or `{"difference": sentence}`, and the mark of the next turn. `turn` counts from 0."""
    if mark is None:
        starts = marks.find(state, recorded.run_id, turn), marks.find(state, ours.run_id, turn)
        if starts[0] is None or starts[1] is None:
            return {"difference": f"Turn {turn + 1}: the recording has fewer answers."}, None
        mark = Mark(turn, starts[0], starts[1])
    then, now = marks.read(state, recorded, mark.recorded), marks.read(state, ours, mark.ours, mark.passed)
    facts = comparing.facts(now.lines, ours.places)
    if then.answer is None:
        last = f" Since then: {facts[-1].what}, {facts[-1].value[:200]!r}." if facts else ""
        return {"difference": f"Turn {turn + 1}: the recorded run had ended before.{last}"}, None
    difference = comparing.difference(turn + 1, comparing.facts(then.lines, recorded.places), facts)
    if difference is not None:
        return {"difference": difference}, None
    return {"answer": _moved(then.answer, recorded.workspace, ours.workspace)}, Mark(
        mark.turn + 1, then.end, now.end, 1
    )


def _moved(value: Any, old: str, new: str) -> Any:
    """Return an answer whose paths lie in another workspace."""
    if isinstance(value, str):
        return value.replace(old, new) if len(old) > 1 else value
    if isinstance(value, dict):
        return {key: _moved(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    return value
