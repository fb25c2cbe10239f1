"""Submissions of callers: their input is validated by its schemas first, off the event loop."""

from __future__ import annotations

from dataclasses import replace

from kheish.domain import intake, keys
from kheish.domain.assets import asset as assets
from kheish.domain.intake import Input
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.runtime import judging
from kheish.runtime.outputs import reachable
from kheish.state.state import State


async def submit(state: State, given: Input, *, by: str | None = None) -> Run | str:
    """Queue a run of a session that is in use (`intake.submit`). Raises as `intake.submit`."""
    async with assets.using(state, given.items):
        return await _submit(state, given, by)


async def _submit(state: State, given: Input, by: str | None) -> Run | str:
    session = state.get(Session, given.session_id)
    wanted = given.reply_targets or session.settings["reply_targets"]
    if wanted and keys.earlier(state, given.key) is None:
        await reachable.check(state, wanted)
        given = replace(given, key=await keys.known(state, keys.sent(given.key)))  # it may have been submitted twice
        session = state.get(Session, given.session_id)
    schemas = intake.schemas_key(session, given)
    if schemas is not None and keys.earlier(state, given.key) is None:
        await judging.run(intake.check_schemas, session.settings["input_contract"], given)
        given = replace(given, key=await keys.known(state, keys.sent(given.key)))  # it may have been submitted twice
    return intake.submit(state, replace(given, checked=schemas), by=by)
