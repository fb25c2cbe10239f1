"""The one write: all or none, numbered, scrubbed, spilled; and what is read back is what was in memory."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kheish.auth import forms, redaction
from kheish.domain import approvals, events, keys, questions, runs
from kheish.domain.messages import Conversation
from kheish.domain.runs import Run, Status
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Turn
from kheish.errors import Damaged, IdempotencyConflict, NotFound, StoreFailed, Unavailable
from kheish.state import pins, state as state_module
from tests.support.stateful import Played, approval, keyed, question, table

SECRET = 'sk-live"\\é/+=a secret?'


# --- numbers and groups -----------------------------------------------------------------------------------------------


def test_n_grows_over_everything_and_seq_in_each_journal(p: Played) -> None:
    p.session("t")
    run = p.submit_run()
    p.state.append(events.DaemonPaused().on(), events.RunStarted().on("s", run.run_id), events.DaemonResumed().on())
    p.flush()
    assert [line["n"] for line in p.lines] == [1, 2, 3, 4, 5, 6]
    where = [(line.get("session") or line["stream"], line["seq"]) for line in p.lines]
    assert where == [("s", 1), ("t", 1), ("s", 2), ("daemon", 1), ("s", 3), ("daemon", 2)]
    assert p.restart().state.n == 6


def test_a_group_is_one_line_of_the_log(p: Played) -> None:
    run = p.submit_run()
    p.flush()
    entries = p.state.append(events.RunStarted().on("s", run.run_id), events.DaemonPaused().on())
    assert len(p.groups) == 1
    assert (p.groups[0].first, p.groups[0].last) == (entries[0].n, entries[1].n)
    assert [where for where, _ in orjson.loads(p.groups[0].body)] == [f"{p.state.sessions['s'].path}/journal",
                                                                      "journals/daemon"]  # fmt: skip


@pytest.mark.parametrize("bad", [2**70, "\ud800", {1, 2}])
def test_a_group_that_cannot_be_written_changes_nothing(p: Played, bad: Any) -> None:
    run = p.submit_run()
    p.flush()
    before, n = table(p.state.sessions["s"]), p.state.n
    started = events.RunStarted().on("s", run.run_id)
    with pytest.raises(TypeError):
        p.state.append(started, events.DaemonPaused().on(), events.SessionUpdated(changes={"x": bad}).on("s"))
    assert (table(p.state.sessions["s"]), p.state.n, p.groups, p.state.streams) == (before, n, [], {})
    p.state.append(started)
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


def test_a_session_that_is_not_loaded_changes_nothing(p: Played) -> None:
    p.flush()
    n = p.state.n
    with pytest.raises(NotFound):
        p.state.append(events.DaemonPaused().on(), events.SessionEnded().on("nobody"))
    assert p.state.n == n and not p.groups


def test_two_sessions_are_made_in_one_group(p: Played) -> None:
    made = [events.SessionCreated(path=f"sessions/d/{id}", agent_id="a", settings={}).on(id) for id in ("x", "y")]
    p.state.append(*made, events.SessionUpdated(changes={"title": "t"}).on("x"))
    assert p.state.sessions["x"].seq == 2
    assert table(p.reloaded("x")) == table(p.state.sessions["x"])
    assert p.state.get(Session, "y").path == "sessions/d/y"


# --- spill and scrub --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "spilled"), [(16 * 1024, False), (16 * 1024 + 1, True)])
def test_a_payload_over_16_kib_goes_to_a_file(p: Played, size: int, spilled: bool) -> None:
    text = "é" + "x" * (size - 2)  # bytes count, not characters
    run = p.submit_run(text)
    p.flush()
    found = p.run(run.run_id).request.items[0].text
    if not spilled:
        assert found == text
        return
    assert isinstance(found, events.Spilled)
    assert (found.bytes, found.preview) == (size, text[:400])
    assert p.state.payloads.read(p.state.get(Session, "s").path, found) == text.encode()
    assert len(orjson.dumps(p.lines[-1])) < 2000
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


async def test_a_payload_is_readable_before_it_is_on_the_disk_and_after(p: Played) -> None:
    """The log's thread is slow, or fails: no reader may see that."""
    folder = p.state.get(Session, "s").path
    p.flush()
    texts = ["x" * 20_000, "y" * 20_000, "x" * 20_000]  # two groups have the same one
    found = [p.submit_run(text).request.items[0].text for text in texts]
    for spilled, text in zip(found, texts, strict=True):
        assert isinstance(spilled, events.Spilled)
        assert p.state.payloads.read(folder, spilled) == text.encode()
        assert await p.state.payloads.text(folder, spilled) == text
    first, rest = p.groups[:1], p.groups[1:]
    p.groups = rest
    p.state.made_durable(first[0].last)  # its file is damaged, or taken away: the other group still has it
    assert p.state.payloads.read(folder, found[2]) == b"x" * 20_000
    p.groups = [*first, *rest]
    p.flush()
    assert [p.state.payloads.read(folder, one) for one in found] == [text.encode() for text in texts]
    assert not p.state.payloads._pending and not p.state.payloads._holds, "memory is given back"
    (p.root / folder / "spill" / found[1].sha256).write_bytes(b"z" * 20_000)
    with pytest.raises(Damaged, match="not what was written"):
        p.state.payloads.read(folder, found[1])


@pytest.mark.parametrize("opaque", [{"sig": "x" * 20000}, [{"sig": "x" * 20000}], "x" * 20000])
def test_large_arguments_and_opaque_blocks_are_spilled_whole(p: Played, opaque: Any) -> None:
    run = p.submit_run()
    call = events.ModelCall(id="c", name="write_file", arguments={"path": "a", "content": "y" * 20000})
    answer = events.ModelResponded(turn=0, text="t", calls=(call,), opaque=opaque)
    p.move(run.run_id, events.RunStarted(), answer)
    p.flush()
    data = p.data("model.responded")[0]
    path = p.state.get(Session, "s").path
    for reference, wanted in ((data["calls"][0]["arguments"], call.arguments), (data["opaque"], opaque)):
        raw = p.state.payloads.read(path, events.Spilled(**reference))
        assert orjson.loads(raw) == wanted
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


def test_a_secret_never_reaches_a_line_or_a_spill(tmp_path: Path) -> None:
    p = Played(tmp_path, scrub=redaction.scrubber({"env:KEY": SECRET}))
    p.session(title=SECRET)
    written_as = [form.decode() for form in (*forms.forms(SECRET), *forms.encodings(SECRET.encode()))]
    run = p.submit_run(f"use {SECRET} " + "x" * 20000, metadata={SECRET: [*written_as]})
    call = events.ModelCall(id="c", name="bash", arguments={"command": f"echo {SECRET}"}, malformed=f'{{"a": "{SECRET}')
    p.state.append(
        events.RunStarted().on("s", run.run_id, by=SECRET),
        events.ModelResponded(turn=0, text=SECRET, calls=(call,)).on("s", run.run_id),
    )
    p.flush()
    written = [file.read_text() for file in tmp_path.rglob("*") if file.is_file() and ".kheish" not in str(file)]
    assert any("x" * 20000 in text for text in written)
    for form in written_as:
        assert not any(form in text for text in written)
    assert p.run(run.run_id).request.metadata.keys() == {"[redacted:env:KEY]"}
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])
    p.index.close()


def test_a_secret_of_digits_does_not_break_numbers(tmp_path: Path) -> None:
    p = Played(tmp_path, scrub=redaction.scrubber({"pin": "123456789"}))
    p.session()
    p.state.n = 123456788
    run = p.submit_run("the pin is 123456789")
    p.flush()
    assert p.run(run.run_id).n == 123456789
    assert p.run(run.run_id).request.items[0].text == "the pin is [redacted:pin]"
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])
    p.index.close()


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_every_500_entries_and_at_each_compaction(p: Played) -> None:
    run = p.submit_run()
    p.move(run.run_id, events.RunStarted())
    while p.state.sessions["s"].seq < 1100:
        p.state.append(events.Nudged(text="x", reason="y").on("s", run.run_id))
    p.flush()
    assert [line["seq"] for line in p.lines if line["kind"] == "checkpoint"] == [501, 1002]
    compacted = events.ContextCompacted(summary="so far", covers=1090)
    p.state.append(compacted.on("s", run.run_id))
    assert p.kinds()[-2:] == ["context.compacted", "checkpoint"]
    assert p.data("checkpoint")[-1]["messages_from"] > 1090
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


def test_an_end_stays_when_a_compaction_covers_the_rest_of_its_run(p: Played) -> None:
    p.move(p.submit_run("first").run_id, events.RunStarted(), events.RunInterrupted())
    run = p.submit_run("second")
    p.move(run.run_id, events.RunStarted())
    first, end, second = p.state.table(Conversation, "s")["s"].messages
    assert (first.role, end.role, second.role) == ("user", "ended", "user")
    p.move(run.run_id, events.ContextCompacted(summary="the first input", covers=first.seq))
    assert [one.role for one in p.state.table(Conversation, "s")["s"].messages] == ["summary", "ended", "user"]
    assert table(p.reloaded("s")) == table(p.state.sessions["s"])


def test_a_checkpoint_does_not_hold_the_messages(p: Played) -> None:
    run = p.submit_run("a very particular sentence")
    p.move(run.run_id, events.RunStarted(), events.ModelResponded(turn=0, text="another particular sentence"))
    p.state.append(events.ContextCompacted(summary="third", covers=1).on("s", run.run_id))
    p.flush()
    nouns = p.data("checkpoint")[0]["nouns"]
    assert "conversation" not in nouns
    assert "third" not in str(nouns)
    assert str(nouns).count("a very particular sentence") == 1, "as the run's request, and nowhere else"


async def test_what_a_checkpoint_drops_is_found_by_the_index(p: Played) -> None:
    run = p.submit_run(key=keyed("x", "key"))
    p.move(run.run_id, events.RunStarted(), events.RunCompleted(output="done"))
    p.state.append(events.ContextCompacted(summary="x", covers=1).on("s", run.run_id))
    assert p.state.find(Run, run.run_id) is None
    p.flush()
    async with pins.thing(p.state, Run, run.run_id) as doc:
        assert doc and doc["status"] == "completed"
    used = await keys.known(p.state, keys.of("x", "key", {}))
    assert used and (used.result, used.session_id) == (run.run_id, "s")
    with pytest.raises(IdempotencyConflict):
        await keys.known(p.state, keys.of("x", "key", {"other": 1}))
    fresh = await keys.known(p.state, keys.of("x", "another", {}))
    assert fresh and fresh.result is None and await keys.known(p.state, None) is None


# --- durability -------------------------------------------------------------------------------------------------------


async def test_durable_waits_for_what_was_appended_and_no_more(p: Played) -> None:
    p.flush()
    p.submit_run()
    first = asyncio.create_task(p.state.durable())
    await asyncio.sleep(0)
    p.submit_run()
    second = asyncio.create_task(p.state.durable())
    await asyncio.sleep(0)
    assert not first.done()
    p.state.made_durable(p.groups[0].last)
    await first
    assert not second.done()
    p.state.made_durable(p.groups[1].last)
    await second
    await asyncio.wait_for(p.state.durable(), 10)


def test_listeners_see_an_event_only_when_it_is_durable(p: Played) -> None:
    p.flush()
    p.submit_run()
    p.submit_run()
    entries, changes = p.state.made_durable(p.groups[0].last)
    assert [item.entry.n for item in entries] == [p.groups[0].last]
    assert {change.noun.name for change in changes} == {"agent", "run", "session"}
    assert p.state.made_durable(p.groups[0].last) == ([], [])


async def test_a_failed_log_fails_every_waiting_and_later_answer(p: Played) -> None:
    run = p.submit_run()
    waiting = asyncio.create_task(p.state.durable())
    await asyncio.sleep(0)
    p.state.fail(StoreFailed("the disk"))
    with pytest.raises(StoreFailed):
        await waiting
    for call in (p.submit_run, lambda: runs.cancel(p.state, run.run_id, by="x")):
        with pytest.raises(StoreFailed):
            call()
    with pytest.raises(StoreFailed):
        await p.state.durable()


def test_a_log_that_refuses_a_group_fails_the_state(tmp_path: Path) -> None:
    p = Played(tmp_path)
    p.session()

    def refuse(group: object) -> None:
        raise StoreFailed("the disk")

    p.state._submit = refuse
    with pytest.raises(StoreFailed):
        p.submit_run()
    assert p.state.failure is not None
    p.index.close()


async def test_caught_up_waits_for_the_index_and_gives_up(p: Played) -> None:
    p.flush()
    p.submit_run()
    p.state.made_durable(p.state.n)
    with pytest.raises(Unavailable):
        await p.state.caught_up(timeout=0.01)
    waiting = asyncio.create_task(p.state.caught_up())
    await asyncio.sleep(0)
    p.state.made_journaled(p.state.n)
    await waiting


# --- eviction ---------------------------------------------------------------------------------------------------------


async def test_an_evicted_session_comes_back_as_it_was(p: Played) -> None:
    run = p.waiting(approval("a1"))
    p.session("t")
    sessions.update(p.state, "t", {"title": "x"}, by="me")
    p.flush()
    before = table(p.state.sessions["t"])
    for part in p.state.sessions.values():
        part.used -= 60
    p.state.evict(0)
    assert list(p.state.sessions) == ["s"], "a session with an active run stays"
    assert p.state.find(Session, "t") is None
    await asyncio.gather(p.state.load("t"), p.state.load("t"))
    assert table(p.state.sessions["t"]) == before
    with pytest.raises(NotFound):
        await p.state.load("nobody")
    assert p.run(run.run_id).status is Status.WAITING_FOR_APPROVAL


async def test_what_was_recalled_once_is_not_told_when_it_has_changed(p: Played) -> None:
    p.session("t", while_waiting="park")
    p.waiting(approval("a1"), session_id="t")
    p.flush()

    def evict() -> None:
        p.flush()
        for part in p.state.sessions.values():
            part.used -= 60
        p.state.evict(0)
        assert "t" not in p.state.sessions

    evict()
    assert (await p.state.recall(approvals.Approval, "a1") or {})["status"] == "pending"
    async with pins.thing(p.state, approvals.Approval, "a1") as ended:
        assert ended is None
        run_id = approvals.resolve(p.state, "a1", "deny", by="me", via="api").run_id
    runs.cancel(p.state, run_id, by="me")
    evict()
    assert (await p.state.recall(approvals.Approval, "a1") or {})["status"] == "denied"


# --- anything legal, in any order -------------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Legal verbs in any order on one session, with a checkpoint every seven entries."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.p = Played(Path(self.folder.name))
        self.before, state_module.CHECKPOINT_EVERY = state_module.CHECKPOINT_EVERY, 7
        self.p.session(while_waiting="park")
        self.serial = 0

    def teardown(self) -> None:
        state_module.CHECKPOINT_EVERY = self.before
        self.p.index.close()
        self.folder.cleanup()

    def live(self, *statuses: Status) -> list[Run]:
        return [run for run in self.p.state.table(Run, "s").values() if run.status in statuses]

    def next(self, prefix: str) -> str:
        self.serial += 1
        return f"{prefix}{self.serial}"

    @property
    def running(self) -> Run | None:
        return next(iter(self.live(Status.RUNNING)), None)

    @property
    def turn(self) -> Turn:
        assert self.running
        return self.p.state.get(Turn, self.running.run_id)

    @rule(text=st.sampled_from(["short", "x" * 20000]), key=st.sampled_from([None, "k1", "k2"]))
    def submit(self, text: str, key: str | None) -> None:
        with contextlib.suppress(AssertionError):  # the key was used
            self.p.submit_run(text, key=keyed("e", key))

    @precondition(lambda self: runs.next_claim(self.p.state, "s") is not None and self.running is None)
    @rule()
    def take(self) -> None:
        run = runs.next_claim(self.p.state, "s")
        assert run
        self.p.move(run.run_id, events.RunResumed(reason="x") if run.started_at else events.RunStarted())

    @precondition(lambda self: self.running and not self.turn.open_calls)
    @rule(count=st.integers(0, 2))
    def answer(self, count: int) -> None:
        assert self.running
        calls = tuple(
            events.ModelCall(id=self.next("c"), name="bash", arguments={"command": "x"}) for _ in range(count)
        )
        usage = events.Usage(input_tokens=3, output_tokens=1, cost_usd=0.25)
        event = events.ModelResponded(turn=self.turn.turn, text="t", calls=calls, usage=usage, route="local")
        self.p.move(self.running.run_id, event)

    @precondition(lambda self: self.running and self.turn.open_calls)
    @rule(way=st.sampled_from(["finish", "start", "approval", "question"]))
    def work(self, way: str) -> None:
        assert self.running
        call, run = self.turn.open_calls[0], self.running
        match way:
            case "finish":
                done = events.ToolFinished(call_id=call.id, tool="bash", is_error=False, content="y" * 20000)
                self.p.move(run.run_id, done)
            case "start":
                started = events.ToolStarted(
                    call_id=call.id, tool="bash", arguments={}, digest="d", key="k", effect="effect", replay="unsafe"
                )
                self.p.move(run.run_id, started)
            case "approval":
                asked = approval(self.next("a"), call_id=call.id)
                self.p.move(run.run_id, asked, events.RunWaiting(status="waiting_for_approval"))
            case _:
                waits = events.RunWaiting(status="waiting_for_question")
                self.p.move(run.run_id, question(self.next("q")), waits)

    @rule(decision=st.sampled_from(["allow", "deny"]), key=st.sampled_from([None, "k3"]))
    def decide(self, decision: Any, key: str | None) -> None:
        for run in self.live(*runs.WAITING)[:1]:
            for id in run.pending_approvals[:1]:
                approvals.resolve(self.p.state, id, decision, by="me", via="api", key=keyed("e", key) if key else None)
            for id in run.pending_questions[:1]:
                questions.decline(self.p.state, id, by="me", via="api", reason=None)

    @precondition(lambda self: self.live(*runs.LIVE))
    @rule(data=st.data(), verb=st.sampled_from([runs.cancel, runs.interrupt]))
    def stop(self, data: Any, verb: Any) -> None:
        run = data.draw(st.sampled_from(self.live(*runs.LIVE)))
        verb(self.p.state, run.run_id, by="me")

    @precondition(lambda self: self.running and not self.turn.open_calls)
    @rule(event=st.sampled_from([events.RunCompleted(output="o"), events.RunInterrupted(), events.RunCancelled()]))
    def end(self, event: Any) -> None:
        assert self.running
        self.p.move(self.running.run_id, event)

    @precondition(lambda self: self.running)
    @rule(share=st.floats(0, 1))
    def compact(self, share: float) -> None:
        assert self.running
        messages = self.p.state.table(Conversation, "s")["s"].messages
        covered = messages[: int(len(messages) * share)]
        if len(covered) > 1:
            event = events.ContextCompacted(summary=f"{len(covered)} messages", covers=covered[-1].seq)
            self.p.move(self.running.run_id, event)

    @rule(title=st.sampled_from(["a", "b"]))
    def rename(self, title: str) -> None:
        sessions.update(self.p.state, "s", {"title": title}, by="me")

    @precondition(lambda self: self.running)
    @rule()
    def note(self) -> None:
        assert self.running
        todo = events.TodoWritten(items=(events.Todo(content="x"),))
        self.p.move(self.running.run_id, events.Nudged(text="n", reason="output_contract"), todo)

    @invariant()
    def memory_is_what_the_journal_says(self) -> None:
        live = table(self.p.state.sessions["s"])
        assert table(self.p.reloaded("s")) == live

    @invariant()
    def one_run_at_a_time(self) -> None:
        session = self.p.state.get(Session, "s")
        assert len(self.live(Status.RUNNING)) <= 1
        assert set(session.queued) <= {run.run_id for run in self.live(Status.QUEUED)}
        if self.running:
            assert session.active == self.running.run_id


TestLife = Life.TestCase
TestLife.settings = settings(stateful_step_count=30)
