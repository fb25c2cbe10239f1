"""Submission of dropped files: each inbox file becomes a run of the session that its folder names."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

from kheish import ids
from kheish.api import submissions
from kheish.api.observations import uploads
from kheish.authoring.inbox.inbox import BY, Unusable, place_of, source_of
from kheish.authoring.inbox.rejects import plain_name
from kheish.authoring.inbox.tickets import FOLDER, Taken
from kheish.domain import conventions, keys
from kheish.domain.events import Idempotency
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.runtime import submission
from kheish.runtime.observations.contents import Given
from kheish.runtime.observations.keeper import Keeper
from kheish.state import pins
from kheish.state.state import State
from kheish.store import parsing
from kheish.store.edits import definitions

log = logging.getLogger(__name__)


def submitter(state: State, workspace: Callable[[str], Awaitable[Path]]) -> Callable[[Taken, bytes], Awaitable[str]]:
    """Return what submits a file that was taken; `workspace(session_id)` chooses the folder of a new session."""

    async def submit(taken: Taken, raw: bytes) -> str:
        """Submit the run durably; return the new path of the file. Raise Unusable or KheishError."""
        session_id, name = place_of(taken.path)
        body = await parsing.run(read, taken.path, name, raw)
        async with pins.session_or_new(state, session_id):
            if state.find(Session, session_id) is None:
                home = await workspace(session_id)
                sessions.create(state, session_id, {}, workspace=home, by=BY)
            key = await keys.known(state, _key(taken, raw, session_id, body))
            # A file has no authenticated author and may come from a pull: it does not authorise its commands.
            given = submissions.wanted(session_id, body, actor=BY, source="inbox", key=key, checks_ask=True)
            run = await submission.submit(state, given, by=BY)
            run_id = run if isinstance(run, str) else run.run_id
            path = state.get(Session, session_id).path
            await state.durable()
        log.info("%s is the input of %s", taken.path, run_id)
        return f"{path}/inbox/{run_id}.{plain_name(name)}"

    return submit


def observer(keeper: Keeper) -> Callable[[Taken, bytes], Awaitable[None]]:
    """Return what makes an observation of a file that was taken."""

    async def observe(taken: Taken, raw: bytes) -> None:
        """Store the observation durably, once. Raise Unusable or KheishError."""
        source_id, name = source_of(taken.path)
        file = keeper.file(ids.check_slug(source_id, "the source"))
        at = ids.stamp(keeper.state.clock())
        given = Given(content=raw, kind=uploads.kind_of(raw, file, name), captured_at=at, metadata={"file": name})
        request = {"path": taken.path, "content": await keeper.fingerprint(source_id, raw)}
        key = keys.of(f"{FOLDER}/{source_id}", taken.key, request)
        found, _ = await keeper.receive(source_id, [given], by=BY, request=key)
        log.info("%s is the observation %s", taken.path, found[0].observation_id)

    return observe


def read(path: str, name: str, raw: bytes) -> submissions.Submission:
    """Return what the file asks for. Raises Unusable."""
    if not name.endswith(".yaml"):
        try:
            return submissions.Submission(content=raw.removeprefix(conventions.BOM).decode())
        except UnicodeDecodeError as error:
            raise Unusable(f"It is not UTF-8 text: {error}.") from error
    parsed = definitions.parse(submissions.Submission, raw, path)
    if parsed.value is not None:
        return parsed.value
    raise Unusable("\n".join(f"{one.line}:{one.column}: {one.message}" for one in parsed.problems))


def _key(taken: Taken, raw: bytes, session_id: str, body: submissions.Submission) -> Idempotency:
    """Return the key of a drop; one that a submission brings itself is the same as by HTTP."""
    if body.idempotency_key is not None:
        request = body.model_dump(mode="json", exclude={"idempotency_key"}, exclude_none=True)
        found = keys.of(f"sessions/{session_id}/runs", body.idempotency_key, request)
    else:
        request = {"path": taken.path, "sha256": sha256(raw).hexdigest()}
        found = keys.of(f"{FOLDER}/{session_id}", taken.key, request)
    assert found is not None
    return found
