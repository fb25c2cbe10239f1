"""Invocations of hooks, each in the journal of its hook: those under way, dead letters, and counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun, always


@frozen
class HookInvocation(View):
    """A run of a hook."""

    invocation_id: str
    hook: str
    event: str
    executor: str
    digest: str
    status: str
    """running, settled, or dead: it failed after all its attempts."""
    made: int
    n: int
    invoked_at: str
    settled_at: str | None = None
    session_id: str | None = None
    run_id: str | None = None
    input: dict[str, Any] | None = None
    """Its input, if it is no call of a run that waits for it."""
    result: str | None = None
    """ok, blocked, failed or cancelled."""
    attempts: int = 0
    reason: str | None = None
    exit_code: int | None = None
    duration_ms: int = 0
    detail: dict[str, Any] | None = None


@frozen
class HookTally(View):
    """The counts of a hook."""

    hook: str
    made: int
    n: int
    runs: int = 0
    failures: int = 0
    last: dict[str, Any] | None = None


FOLDED = (events.HookInvoked, events.HookSettled)


def fold(table: dict[str, HookInvocation], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    id = event.invocation_id
    old = table.get(id)
    if isinstance(event, events.HookInvoked):
        table[id] = HookInvocation(
            invocation_id=id, hook=event.hook, event=event.event, executor=event.executor, digest=event.digest,
            status="running", made=entry.n if old is None else old.made, n=entry.n, invoked_at=entry.at,
            session_id=event.session_id, run_id=event.run_id, input=event.input,
        )  # fmt: skip
        return (id,)
    if old is None:
        return ()
    table[id] = changed(
        old,
        status="dead" if event.dead else "settled",
        n=entry.n,
        settled_at=entry.at,
        input=old.input if event.dead else None,
        result=event.result,
        attempts=event.attempts,
        reason=event.reason,
        exit_code=event.exit_code,
        duration_ms=event.duration_ms,
        detail=event.detail or None,
    )
    return (id,)


def fold_tally(table: dict[str, HookTally], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    old = table.get(event.hook) or HookTally(hook=event.hook, made=entry.n, n=entry.n)
    last = {
        "at": entry.at, "event": event.event if isinstance(event, events.HookInvoked) else None,
        "invocation_id": event.invocation_id, "result": "running", "reason": None, "duration_ms": None,
    }  # fmt: skip
    if isinstance(event, events.HookInvoked):
        table[event.hook] = changed(old, n=entry.n, runs=old.runs + 1, last=last)
        return (event.hook,)
    known = old.last["event"] if old.last and old.last["invocation_id"] == event.invocation_id else None
    last |= {"event": known, "result": event.result, "reason": event.reason, "duration_ms": event.duration_ms}
    failures = old.failures + (event.result == "failed")
    table[event.hook] = changed(old, n=entry.n, failures=failures, last=last)
    return (event.hook,)


NOUN = Noun(
    name="hook_invocation",
    cls=HookInvocation,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[HookInvocation], entry),
    keep=lambda one: one.status == "running",
    view=lambda one: one,
    status=lambda one: one.status,
    filters=("hook",),
    read=lambda document: HookInvocation(**document),
)
TALLY = Noun(
    name="hook_tally",
    cls=HookTally,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold_tally(tables[HookTally], entry),
    keep=always,
    view=lambda one: one,
    status=lambda _: "counted",
    read=lambda document: HookTally(**document),
)
