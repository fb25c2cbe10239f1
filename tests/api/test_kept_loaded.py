"""Handlers that await keep their session loaded, and a key is known whatever was let go of meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from kheish.domain import events
from kheish.domain.events.playbooks import RELEASES
from kheish.domain.flows.flow import Flow
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.playbooks.versions import Released
from kheish.domain.sessions import end as session_end
from kheish.domain.sessions.session import Session
from kheish.state.state import State
from tests.api.harness import World, approval, question, world
from tests.domain.playbooks.test_versions import WORD
from tests.support.flowing import manifest

CONTRACT = {"type": "object"}
KEY = {"idempotency-key": "k"}
ANSWERS = {"answers": {"q1": {"selected": ["a"]}}}


def let_go(state: State) -> None:
    """Evict everything that may go."""
    for part in (*state.sessions.values(), *state.owners.values()):
        part.used = 0
    state.evict(0)


@asynccontextmanager
async def evicting(state: State) -> AsyncIterator[None]:
    """Evict at each turn of the loop."""

    async def always() -> None:
        while True:
            let_go(state)
            await asyncio.sleep(0)

    task = asyncio.create_task(always())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def release(w: World) -> None:
    """A Playbook with a version that is active, and its content."""
    made = events.PlaybookPublished(
        playbook_id="pb", version="1.0.0", title="T", digest="d", tag="t", tag_id="i", commit="c"
    )
    await w.state.load_owner(RELEASES, "pb")
    playbooks.publish(w.state, made, by="ada")
    playbooks.release(w.state, "pb", "1.0.0", "verified", by="ada", evidence=[WORD])
    one = playbooks.release(w.state, "pb", "1.0.0", "active", by="ada")
    await w.state.durable()
    serve(w, Released(version=one, manifest=manifest(phases=[{"id": "only"}]), data={}, raw=b"", files={}))


def serve(w: World, released: Released) -> None:
    async def read(playbook_id: str, version: str) -> Released:
        await asyncio.sleep(0)
        return released

    w.parts.playbooks.read = read  # type: ignore[method-assign]  # what the version's tag says
    w.released = released  # type: ignore[attr-defined]


async def prepared(w: World) -> None:
    """Parked runs that wait for a person, one that has ended, a queue, and a Flow; all of it may be evicted."""
    await release(w)
    for id, asked in (
        ("a", approval("appr_1")),
        ("b", approval("appr_2")),
        ("q", question("q_1")),
        ("d", question("q_2")),
    ):
        await w.session(id, while_waiting="park")
        await w.waiting(asked, session_id=id)
    await w.session("s")
    await w.session("done")
    ended = await w.run("done")
    w.move(ended["run_id"], events.RunStarted(), events.RunCompleted(output="done"))
    await w.session("judged", input_contract=CONTRACT)
    await w.http.post("/v1/flows", json={"playbook": "pb", "session_id": "f"}, headers={"idempotency-key": "first"})
    await w.state.durable()
    w.ended = ended["run_id"]  # type: ignore[attr-defined]
    w.flow = next(iter(w.state.table(Flow, "f")))  # type: ignore[attr-defined]


Request = tuple[str, str, dict[str, Any]]
REQUESTS: dict[str, Callable[[Any], Request]] = {
    "create": lambda w: ("POST", "/v1/sessions", {"session_id": "s"}),
    "patch": lambda w: ("PATCH", "/v1/sessions/s", {"output_contract": CONTRACT, "workspace": None}),
    "end": lambda w: ("POST", "/v1/sessions/s/end", {}),
    "interrupt": lambda w: ("POST", "/v1/sessions/s/interrupt", {}),
    "fork": lambda w: ("POST", "/v1/sessions/done/fork", {"session_id": "forked"}),
    "submit": lambda w: ("POST", "/v1/sessions/judged/runs", {"content": "{}"}),
    "retry": lambda w: ("POST", f"/v1/runs/{w.ended}/retry", {}),
    "cancel run": lambda w: ("POST", "/v1/runs/cancel", {"session": "a"}),
    "resolve": lambda w: ("POST", "/v1/approvals/appr_1/resolve", {"decision": "allow", "arguments": {"command": "x"}}),
    "resolve many": lambda w: (
        "POST",
        "/v1/approvals/resolve",
        {"items": [{"approval_id": f"appr_{at}", "decision": "allow", "arguments": {"command": "x"}} for at in (1, 2)]},
    ),
    "answer": lambda w: ("POST", "/v1/questions/q_1/answer", ANSWERS),
    "decline": lambda w: ("POST", "/v1/questions/q_2/decline", {}),
    "start": lambda w: ("POST", "/v1/flows", {"playbook": "pb", "session_id": "s"}),
    "attach": lambda w: (
        "POST",
        f"/v1/flows/{w.flow}/evidence",
        {"kind": "run", "id": "it", "ref": w.ended},
    ),
    "cancel flow": lambda w: ("POST", f"/v1/flows/{w.flow}/cancel", {}),
    "delete": lambda w: ("DELETE", "/v1/sessions/s", {}),
}
WITH_KEYS = ("submit", "retry", "resolve", "answer", "decline", "start", "attach")


async def ask(w: World, name: str, **headers: Any) -> Any:
    method, path, body = REQUESTS[name](w)
    return await w.http.request(method, path, json=body if method != "DELETE" else None, headers=headers)


@pytest.mark.parametrize("name", REQUESTS)
async def test_an_eviction_at_any_moment_harms_no_handler(w: World, name: str) -> None:
    await prepared(w)
    async with evicting(w.state):
        answer = await ask(w, name)
    assert answer.status_code in (200, 201, 202), answer.text


@pytest.mark.parametrize("name", [name for name in REQUESTS if name not in ("create", "fork", "start", "cancel run")])
async def test_a_deletion_at_any_moment_is_told_as_such(w: World, name: str) -> None:
    """The session goes at each of the turns of the loop that a handler takes; or after it, when it has answered."""
    await prepared(w)
    whose = {"retry": "done", "submit": "judged", "resolve": "a", "resolve many": "b", "answer": "q", "decline": "d",
             "attach": "f", "cancel flow": "f"}.get(name, "s")  # fmt: skip
    asking = asyncio.create_task(ask(w, name))
    while not asking.done() and whose not in w.state.pins:  # noqa: ASYNC110 - a pin has no event of its own
        await asyncio.sleep(0)
    if whose in w.state.sessions and not asking.done():
        event = events.SessionDeleted(
            session_id=whose, path=w.state.get(Session, whose).path, made=1, last_n=w.state.get(Session, whose).n
        )
        [entry] = w.state.append(event.on(by="me"))
        w.state.forget(whose, session_end.tombstone(entry))
    answer = await asking
    assert answer.status_code in (200, 201, 202) or answer.json()["code"] == "session_deleted", answer.text


@pytest.mark.parametrize("restarted", [False, True], ids=["evicted", "restarted"])
@pytest.mark.parametrize("name", WITH_KEYS)
async def test_a_repeated_request_gets_the_first_answer(tmp_path: Path, name: str, restarted: bool) -> None:
    async with world(tmp_path) as w:
        await prepared(w)
        first = await ask(w, name, **KEY)
        assert first.status_code in (200, 201, 202), first.text
        await w.state.caught_up()
        let_go(w.state)
        if not restarted:
            await check_repeated(w, name, first)
    if restarted:
        async with world(tmp_path) as again:
            again.ended, again.flow = w.ended, w.flow  # type: ignore[attr-defined]
            serve(again, w.released)  # type: ignore[attr-defined]
            await check_repeated(again, name, first)


async def check_repeated(w: World, name: str, first: Any) -> None:
    n = w.state.n
    again = await ask(w, name, **KEY)
    assert again.status_code in (200, 201, 202), again.text
    assert {**again.json(), "n": 0} == {**first.json(), "n": 0}
    assert w.state.n == n, "nothing was done"
