"""Idempotency keys: the same key and the same request give the same answer, also after a restart."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from kheish.domain import events
from kheish.domain.events import Entry, Idempotency, frozen
from kheish.errors import IdempotencyConflict, Invalid

if TYPE_CHECKING:
    from kheish.domain.state import State


@frozen
class KeyUse:
    """A key that was used: for what request, and what it led to."""

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
)


def fold(table: dict[str, KeyUse], entry: Entry) -> Iterable[str]:
    """Take one entry in; returns the ids that changed."""
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
        case events.EvidenceAttached(idempotency=Idempotency() as used, evidence_id=result):
            pass
        case _:
            return ()
    assert entry.session is not None and result is not None
    id = key_id(used.scope, used.key)
    table[id] = KeyUse(key_id=id, session_id=entry.session, digest=used.digest, result=result, made=entry.n, n=entry.n)
    return (id,)


def view(use: KeyUse) -> dict[str, Any]:
    """What the index keeps."""
    return {"session_id": use.session_id, "digest": use.digest, "result": use.result}


def key_id(scope: str, key: str) -> str:
    """The id under which a use is found; `scope` is the endpoint and the session."""
    return f"{scope} {key}"


def of(scope: str, key: str | None, request: Any) -> Idempotency | None:
    """The key with a digest of the (JSON) request that came with it. Raises Invalid for a key that is too long."""
    if key is None:
        return None
    check(key)
    digest = sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Idempotency(scope=scope, key=key, digest=digest)


def check(key: str) -> None:
    """Raises Invalid for a key that is too long."""
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise Invalid("An idempotency key has 1 to 255 printable characters.")


def earlier(state: State, key: Idempotency | None) -> str | None:
    """What the key led to before, if it was used. Raises IdempotencyConflict where it was for another request.

    The rim awaits `state.recall(KeyUse, …)` first, which brings an old use from the index into memory.
    """
    if key is None:
        return None
    use = state.recalled(KeyUse, key_id(key.scope, key.key))
    if use is None:
        return None
    if use["digest"] != key.digest:
        raise IdempotencyConflict(
            f"The idempotency key {key.key!r} was used for another request, which led to {use['result']}; "
            "use a new key.",
            result=use["result"],
        )
    return str(use["result"])
