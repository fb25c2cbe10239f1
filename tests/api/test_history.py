"""The past by HTTP: as it was, what happened in between, what was said, forks, and deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from kheish.domain import events
from kheish.domain.messages import Conversation
from kheish.domain.nouns import NOUNS
from kheish.runtime.tools.base import Context
from kheish.runtime.tools.memory.search import TOOLS, MemorySearch
from kheish.state import loading
from kheish.store.log import records
from tests.api.harness import World

SEARCH = TOOLS[0]


def answered(text: str, *calls: str) -> events.ModelResponded:
    made = tuple(events.ModelCall(id=id, name="bash", arguments={"command": f"echo {id}"}) for id in calls)
    return events.ModelResponded(turn=0, route="local", text=text, calls=made, opaque={"provider": "block"})


def result(id: str, content: str) -> events.ToolFinished:
    return events.ToolFinished(call_id=id, tool="bash", is_error=False, content=content)


async def told(w: World, session_id: str, content: str, *happenings: events.Event) -> dict[str, Any]:
    """A run that began, with what happened in it."""
    run = await w.run(session_id, content)
    w.move(run["run_id"], events.RunStarted(), *happenings)
    await w.state.durable()
    return run


def said(w: World, session_id: str) -> list[tuple[str, str]]:
    """The conversation in memory, which is what a restarted daemon reads too."""

    def shown(table: dict[str, Conversation]) -> list[tuple[str, str]]:
        found = table[session_id].messages
        return [(one.role, str(one.text or "".join(str(item.text) for item in one.items))) for one in found]

    part = w.state.sessions[session_id]
    again = loading.load(w.root, NOUNS, session_id, part.path)
    live = shown(part.tables[Conversation])
    assert shown(again.tables[Conversation]) == live
    return live


async def fork(w: World, origin: str, target: str, at: str | None = None, status: int = 201) -> dict[str, Any]:
    body = {"session_id": target, **({"at": at} if at else {})}
    answer = await w.http.post(f"/v1/sessions/{origin}/fork", json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def test_a_fork_goes_on_from_the_conversation_without_what_was_open(w: World) -> None:
    await w.session(title="first", labels={"a": "b"})
    await told(w, "s", "mend it", answered("looking", "c1", "c2"), result("c1", "out"))
    await w.run("s", "queued")

    made = await fork(w, "s", "t")

    assert (made["title"], made["labels"], made["status"], made["queued_runs"]) == ("first", {"a": "b"}, "idle", 0)
    assert made["forked_from"] == {"session_id": "s", "seq": 6, "n": 6, "commit": None}
    assert said(w, "t") == [("user", "mend it"), ("assistant", "looking"), ("tool", "out")]
    message = w.state.sessions["t"].tables[Conversation]["t"].messages[1]
    assert ([call.id for call in message.calls], message.opaque) == (["c1"], None)
    first = orjson.loads((w.root / made["path"] / "journal/000001.jsonl").read_bytes().splitlines()[0])
    assert (first["kind"], first["data"]["from"], first["data"]["seq"]) == ("session.forked", "s", 6)
    await told(w, "t", "and now", answered("done"))
    assert said(w, "t")[3:] == [("user", "and now"), ("assistant", "done")]


@pytest.mark.found("C12")
async def test_what_happened_in_a_fork_begins_before_it(w: World) -> None:
    await w.session()
    await told(w, "s", "one", answered("1"), events.RunCompleted(output="1"))
    await fork(w, "s", "t")
    await told(w, "s", "only there", answered("2"), events.RunCompleted(output="2"))
    await told(w, "t", "two", answered("3"), events.RunCompleted(output="3"))

    whole = (await w.http.get("/v1/sessions/t/diff")).json()
    first = (await w.http.get("/v1/sessions/t/diff", params={"limit": 3})).json()
    rest = (await w.http.get("/v1/sessions/t/diff", params={"from": first["next_from"]})).json()

    assert "one" in whole["text"] and "two" in whole["text"] and "only there" not in whole["text"]
    assert whole["next_from"] is None and first["entries"] + rest["entries"] == whole["entries"]


async def test_a_fork_of_a_fork_and_a_summary_over_both(w: World) -> None:
    await w.session()
    await told(w, "s", "one", answered("1"), events.RunCompleted(output="1"))
    await fork(w, "s", "t")
    await told(w, "t", "two", answered("2"), events.RunCompleted(output="2"))
    await fork(w, "t", "u")
    run = await told(w, "u", "three", answered("3"))
    assert [text for _, text in said(w, "u")] == ["one", "1", "two", "2", "three", "3"]

    covered = w.state.sessions["u"].tables[Conversation]["u"].messages[2].seq
    w.move(run["run_id"], events.ContextCompacted(summary="S", covers=covered))
    await w.state.durable()

    assert [text for _, text in said(w, "u")] == ["S", "2", "three", "3"]
    w.move(run["run_id"], events.RunCompleted(output="3"))
    await fork(w, "u", "v")
    assert [text for _, text in said(w, "v")] == ["S", "2", "three", "3"]


async def test_where_a_fork_may_begin(w: World) -> None:
    await w.session()
    await told(w, "s", "one", answered("1"), events.RunCompleted(output="1"))
    await w.state.durable()
    w.past.at["v1"] = (3, {})

    assert (await fork(w, "s", "by-seq", "seq:4"))["forked_from"]["seq"] == 4
    assert (await fork(w, "s", "by-event", "n:4"))["forked_from"]["n"] == 4
    assert (await fork(w, "s", "by-commit", "v1"))["forked_from"]["n"] == 3
    assert (await fork(w, "s", "by-seq", "seq:4", status=200))["session_id"] == "by-seq"
    await fork(w, "s", "by-seq", "seq:5", status=409)
    await fork(w, "s", "x", "seq:99", status=400)
    await fork(w, "s", "x", "n:99", status=404)
    await fork(w, "s", "x", "nothing", status=404)
    await fork(w, "none", "x", status=404)


async def test_a_large_result_comes_with_the_fork(w: World) -> None:
    await w.session()
    await told(w, "s", "big", answered("", "c1"), result("c1", "x" * 50_000), events.RunCompleted(output="ok"))
    made = await fork(w, "s", "t")

    spilled = w.state.sessions["t"].tables[Conversation]["t"].messages[-1].text

    assert isinstance(spilled, events.Spilled)
    assert w.state.payloads.read(made["path"], spilled) == b"x" * 50_000


async def test_as_it_was_from_the_record_of_a_commit(w: World) -> None:
    path = (await w.session())["path"]
    run = await told(w, "s", "x")
    old = {**(await w.http.get("/v1/sessions/s")).json(), "title": "then"}
    past = {**(await w.http.get(f"/v1/runs/{run['run_id']}")).json(), "status": "queued"}
    files = {f"{path}/session.yaml": records.render(old), f"{path}/runs/{run['run_id']}.yaml": records.render(past)}
    w.past.at["v1"] = (2, {**files, "routes/local.yaml": b"driver: scripted\nscript: {echo: true}\n"})

    shown = await w.http.get("/v1/sessions/s?at=v1")

    assert (shown.json(), shown.headers["x-kheish-commit"]) == (old, "v1")
    assert (await w.http.get(f"/v1/runs/{run['run_id']}?at=v1")).json() == past
    text = await w.http.get("/v1/routes/local?at=v1", headers={"accept": "application/yaml"})
    assert text.text == "driver: scripted\nscript: {echo: true}\n"
    for missing in ("/v1/sessions/s?at=v9", "/v1/runs/none?at=v1", "/v1/personas/p?at=v1"):
        assert (await w.http.get(missing)).status_code == 404


async def test_what_happened_in_between_and_what_was_said(w: World) -> None:
    await w.session()
    await told(w, "s", "find the needle", answered("here is the needle"), events.RunCompleted(output="x"))

    diff = (await w.http.get("/v1/sessions/s/diff?from=n:2&to=n:4")).json()
    page = (await w.http.get("/v1/sessions/s/diff?limit=2")).json()
    hits = (await w.http.get("/v1/sessions/s/search?q=needle&limit=1")).json()
    more = (await w.http.get(f"/v1/sessions/s/search?q=needle&cursor={hits['next_cursor']}")).json()

    assert [entry["n"] for entry in diff["entries"]] == [3, 4]
    assert "here is the needle" in diff["text"] and diff["next_from"] is None
    assert (len(page["entries"]), page["next_from"]) == (2, "n:2")
    assert [one["snippet"] for one in hits["items"] + more["items"]] == ["here is the needle", "find the needle"]
    found = (await w.http.get("/v1/sessions?q=needle&status=busy,idle")).json()["items"]
    assert [(one["session_id"], one["match"]["n"]) for one in found] == [("s", 4)]
    assert (await w.http.get("/v1/sessions/s/search?q=%22%22")).status_code == 400
    assert (await w.http.get("/v1/sessions/s/search?q=%00needle%00&limit=1")).json() == hits, "as if it were a space"


async def test_a_deleted_session_is_gone_and_its_id_stays_taken(w: World) -> None:
    path = (await w.session())["path"]
    run = await told(w, "s", "the needle")
    w.past.at["v1"] = (2, {f"{path}/session.yaml": b"session_id: s\n"})
    assert (await w.http.delete("/v1/sessions/s")).status_code == 409
    w.move(run["run_id"], events.RunCompleted(output="x"))

    gone = await w.http.delete("/v1/sessions/s")

    assert gone.status_code == 200 and gone.json()["path"] == path and "git log" in gone.json()["remains"]
    for answer in (await w.http.get("/v1/sessions/s"), await w.http.delete("/v1/sessions/s")):
        assert (answer.status_code, answer.json()["code"]) == (404, "session_deleted")
    assert (await w.http.get(f"/v1/runs/{run['run_id']}")).status_code == 404
    assert (await w.http.get("/v1/sessions?q=needle")).json()["items"] == []
    w.state.deleted.clear()  # as after a restart: the index has the tombstone
    assert (await w.http.post("/v1/sessions", json={"session_id": "s"})).json()["code"] == "session_conflict"
    assert (await w.http.get("/v1/sessions/s?at=v1")).json() == {"session_id": "s"}
    assert (await w.http.get("/v1/sessions/s/history")).json()["items"] == [{"commit": "v1"}]


async def test_the_agent_finds_what_was_said_also_before_the_fork(w: World) -> None:
    await w.session()
    await told(w, "s", "the password is swordfish", answered("noted"), events.RunCompleted(output="x"))
    await fork(w, "s", "t")
    await told(w, "s", "swordfish again", answered("", "c9"))  # of the other one, after the fork
    await told(w, "t", "what was it?", answered("let me look: swordfish", "c1"))
    context = Context(
        session_id="t", run_id="r", call_id="c1", agent_id="a", workspace=Path(), key="k", state=w.state,
        jobs=None, output=print,
    )  # type: ignore[arg-type]  # fmt: skip

    found = await SEARCH.run(MemorySearch(query="swordfish"), context)
    nothing = await SEARCH.run(MemorySearch(query="pike"), context)

    assert found.content.count("swordfish") == 1 and "the password is swordfish" in found.content
    assert nothing.detail == {"hits": 0}
