"""Trials of hooks, on the authority of a caller of the API; their answers decide nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kheish import ids
from kheish.domain import public_names
from kheish.domain.definitions import Definition
from kheish.domain.hooks import wire
from kheish.domain.hooks.moments import MOMENTS, NAMES
from kheish.domain.sessions.session import Session
from kheish.errors import Conflict, Invalid
from kheish.runtime.hooks import binding
from kheish.runtime.hooks.asked import Asked
from kheish.runtime.hooks.invoking import Invoker
from kheish.runtime.hooks.matchers import fits
from kheish.runtime.hooks.transcript import Transcripts
from kheish.state.state import State


async def run(
    state: State,
    invoker: Invoker,
    transcripts: Transcripts,
    found: Definition,
    event: str | None,
    given: Mapping[str, Any],
    *,
    session_id: str | None,
    cwd: str,
) -> dict[str, Any]:
    """Run a hook once. Raises Invalid, Conflict, NotFound."""
    file = found.value
    moment = NAMES.get(event or file.events[0])
    if moment is None:
        raise Invalid(f"{event!r} is no event of hooks; the events are {', '.join(MOMENTS)}.")
    if file.executor == "prompt":
        raise Conflict("A prompt is only asked during a run, whose route and budget it uses; start a run to try it.")
    if (why := await binding.untrusted(state, found)) is not None:
        raise Conflict(f"The hook {found.id} is not started: {why}")
    path, mode = str(await transcripts.empty()), "default"
    if session_id is not None:
        async with state.using(session_id):
            settings = state.get(Session, session_id).settings
            cwd, mode = settings["workspace"], settings["permission_mode"]
            path = str(await transcripts.render(session_id, cwd))
    document = wire.document(
        moment, session_id=session_id or "test", transcript_path=path, cwd=cwd, permission_mode=mode, model=None,
    )  # fmt: skip
    document |= {key: value for key, value in given.items() if key != "hook_event_name"}
    asked = Asked(
        id=found.id,
        file=file,
        digest=found.digest,
        moment=moment,
        invocation_id=ids.new("hook"),
        document=document,
        session_id=session_id,
        cwd=cwd,
    )
    done = await invoker.invoke(asked)
    await state.durable()
    return {
        "hook": found.id,
        "event": moment,
        "matches": await fits(file.matcher, _subjects(moment, document)),
        "result": done.outcome.result,
        "reason": done.outcome.reason,
        "answer": asdict(done.answer) if done.answer is not None else None,
        "input": document,
        "invocation_id": asked.invocation_id,
        "duration_ms": done.outcome.duration_ms,
    }


def _subjects(moment: str, document: Mapping[str, Any]) -> tuple[str, ...]:
    name = document.get(MOMENTS[moment].subject or "")
    if not isinstance(name, str):
        return ()
    return public_names.names_of(name) if MOMENTS[moment].subject == "tool_name" else (name,)
