"""Idempotency keys: the same key with the same request returns the same result, even after a restart."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from kheish.domain import events
from kheish.domain.events import Entry, Idempotency, frozen
from kheish.errors import IdempotencyConflict, Invalid
from kheish.state import streams
from kheish.state.noun import Noun

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Key:
    """An idempotency key after its lookup, with its earlier result. Only `known` creates it, and verbs accept nothing
    else, so no caller can forget the lookup."""

    request: Idempotency
    result: str | None = None
    session_id: str | None = None  # of the result


@frozen
class KeyUse:
    """A use of a key: the request, its result, and the session of that, or the owner of a stream (`projects/p`)."""

    key_id: str
    session_id: str
    digest: str
    result: str
    made: int
    n: int


FOLDED = (
    events.RunSubmitted,
    events.ApprovalDecided,
    events.ApprovalResolved,
    events.QuestionAnswered,
    events.FlowStarted,
    events.EvidenceAttached,
    events.ChildSpawned,
    events.TaskCreated,
    events.GoalSet,
    events.GoalUpdated,
    events.ProjectTaskCreated,
    events.ProjectTaskClaimed,
    events.ChannelProposed,
    events.ObservationsStored,
)


def fold(table: dict[str, KeyUse], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    match entry.event:
        case events.RunSubmitted(idempotency=Idempotency() as used):
            result = entry.run
        case (
            events.ApprovalDecided(idempotency=Idempotency() as used, approval_id=result)
            | events.ApprovalResolved(idempotency=Idempotency() as used, approval_id=result)
        ):
            pass
        case events.QuestionAnswered(idempotency=Idempotency() as used, question_id=result):
            pass
        case events.FlowStarted(idempotency=Idempotency() as used, flow_id=result):
            pass
        case (
            events.TaskCreated(idempotency=Idempotency() as used, task_id=result)
            | events.ProjectTaskCreated(idempotency=Idempotency() as used, task_id=result)
            | events.ProjectTaskClaimed(idempotency=Idempotency() as used, claim_id=result)
            | events.ChannelProposed(idempotency=Idempotency() as used, proposal_id=result)
        ):
            pass
        case (
            events.GoalSet(idempotency=Idempotency() as used, goal_id=result)
            | events.GoalUpdated(idempotency=Idempotency() as used, goal_id=result)
        ):
            pass
        case events.EvidenceAttached(idempotency=Idempotency() as used, evidence_id=result):
            pass
        case events.ChildSpawned(idempotency=Idempotency() as used, agent_id=result):
            pass
        case events.ObservationsStored(idempotency=Idempotency() as used, file=file):
            result = file.batch_id
        case _:
            return ()
    owner = entry.session or streams.owner(entry.event)
    assert owner is not None and result is not None
    id = key_id(used.scope, used.key)
    table[id] = KeyUse(key_id=id, session_id=owner, digest=used.digest, result=result, made=entry.n, n=entry.n)
    return (id,)


def view(use: KeyUse) -> dict[str, Any]:
    """Return the document that the index keeps."""
    return {"session_id": use.session_id, "digest": use.digest, "result": use.result}


NOUN = Noun(
    name="key",
    cls=KeyUse,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[KeyUse], entry),
    keep=lambda _: False,
    view=view,
    status=lambda use: None,
)


def key_id(scope: str, key: str) -> str:
    """Return the id of a key's use; `scope` is the endpoint and the session."""
    return f"{scope} {key}"


def of(scope: str, key: str | None, request: Any) -> Idempotency | None:
    """Return the key with a digest of its (JSON) request. Raises Invalid for a key that is too long."""
    if key is None:
        return None
    check(key)
    digest = sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Idempotency(scope=scope, key=key, digest=digest)


def check(key: str) -> None:
    """Raise Invalid for a key that is too long."""
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise Invalid("An idempotency key has 1 to 255 printable characters.")


async def known(state: State, request: Idempotency | None) -> Key | None:
    """Look up a key in memory and in the index; None without a key.

    Repeat the lookup if much time passes before the verb. Raises IdempotencyConflict for a key of another request.
    """
    if request is None:
        return None
    await state.recall(KeyUse, key_id(request.scope, request.key))
    return _looked_up(state, request)


def earlier(state: State, key: Key | None) -> str | None:
    """Return the earlier result of the key, including one since the lookup. Raises IdempotencyConflict."""
    return (key.result or _looked_up(state, key.request).result) if key is not None else None


def sent(key: Key | None) -> Idempotency | None:
    """Return the key as events hold it."""
    return key.request if key is not None else None


def _looked_up(state: State, request: Idempotency) -> Key:
    use = state.recalled(KeyUse, key_id(request.scope, request.key))
    if use is None:
        return Key(request=request)
    if use["digest"] != request.digest:
        raise IdempotencyConflict(
            f"The idempotency key {request.key!r} was used for another request, which led to {use['result']}; "
            "use a new key.",
            result=use["result"],
        )
    return Key(request=request, result=str(use["result"]), session_id=use["session_id"])
