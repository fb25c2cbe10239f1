"""The states of messages, by any order of events: each is before the model once, in order of its sender (demand 24)."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from kheish.domain import events, runs
from kheish.domain.events import RunError
from kheish.domain.events.mailboxes import Sender
from kheish.domain.mailboxes import delivery, letters
from kheish.domain.mailboxes.letters import Letter
from kheish.domain.mailboxes.message import TRANSITIONS, Mailbox, Message, MessageState, mailbox, pending
from kheish.domain.runs import Run, Status
from kheish.domain.sessions import end as session_end
from kheish.domain.sessions.session import Session
from kheish.errors import IdempotencyConflict, MailboxFull, MessageStateConflict, SessionNotIdle, TooLarge
from kheish.state import loading
from tests.support import stateful
from tests.support.stateful import Played

SENDERS = [Sender(actor=f"agent:{name}", name=name) for name in ("ann", "bob")]


def letter(text: Any = "hello", sender: int = 0, **more: Any) -> Letter:
    return Letter(**{"type": "message", "sender": SENDERS[sender], "payload": text, **more})


def post(p: Played, text: Any = "hello", sender: int = 0, session_id: str = "s", **more: Any) -> Message:
    key = letters.post(p.state, session_id, letter(text, sender, **more))
    return p.state.get(Message, key)


def begin(p: Played, run: Run) -> None:
    """Start a run as the worker does."""
    p.state.append(runs.step(p.state, run.run_id, events.RunStarted()), *delivery.started(p.state, run))


def turn(p: Played, run: Run) -> list[str]:
    """Request a turn as the loop does; returns the texts of the messages in it."""
    mail = delivery.due(p.state, run)
    delivered = delivery.in_turn(p.state, run, 0, mail)
    assert delivered is not None
    requested = events.ModelRequested(turn=0, attempt=1, route="local", model=None, digest="")
    p.state.append(*delivered, requested.on(run.session_id, run.run_id))
    return [str(message.payload) for message, _ in mail]


class Mail(RuleBasedStateMachine):
    """A session with messages, claims, turns, ends, and restarts in any order."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.p = Played(Path(self.folder.name))
        self.p.session()
        self.numbers = itertools.count(1)
        self.seen: dict[str, list[str]] = {}  # by message: the runs whose prompts had it since it was last posted
        self.orders: dict[str, list[int]] = {}  # by sender: what was delivered, in order

    def teardown(self) -> None:
        if hasattr(self, "p"):
            self.p.index.close()
            self.folder.cleanup()

    @property
    def session(self) -> Session:
        return self.p.state.get(Session, "s")

    def active(self) -> Run | None:
        return self.p.run(self.session.active) if self.session.active else None

    def see(self, texts: list[str], run: Run) -> None:
        for text in texts:
            sender, _, number = text.partition(" ")
            self.seen.setdefault(text, []).append(run.run_id)
            assert len(self.seen[text]) == 1, "in one prompt only"
            self.orders.setdefault(sender, []).append(int(number))

    @rule(sender=st.integers(0, 1), how=st.sampled_from([None, "next_run", "next_turn"]))
    def post(self, sender: int, how: Any) -> None:
        post(self.p, f"{SENDERS[sender].name} {next(self.numbers)}", sender, delivery=how)

    @rule()
    def claim(self) -> None:
        was_idle = self.active() is None and not self.session.ended_at
        claimed = delivery.claim(self.p.state, "s", 2.0**40)
        assert claimed is None or (was_idle and claimed.kind == "mailbox_delivery")

    @rule()
    def submit(self) -> None:
        if not self.session.ended_at:
            self.p.submit_run()

    @rule()
    def start(self) -> None:
        run = runs.next_claim(self.p.state, "s")
        if run is not None and run.status is Status.QUEUED:
            box = mailbox(self.p.state, "s")
            mine = box.claimed if box is not None and box.claimed_by == run.run_id else []
            texts = [str(self.p.state.get(Message, key).payload) for key in mine]
            begin(self.p, run)
            self.see(texts, run)

    @rule()
    def ask(self) -> None:
        if (run := self.active()) is not None:
            self.see(turn(self.p, run), run)

    @rule(how=st.sampled_from(["complete", "fail", "cancel"]))
    def end_run(self, how: str) -> None:
        run = self.active()
        if run is not None and how == "cancel":
            runs.end(self.p.state, run.run_id, events.RunCancelled())
        elif run is not None and how == "complete":
            runs.complete(self.p.state, run.run_id, "done")
        elif run is not None:
            runs.fail(self.p.state, run.run_id, "internal", "it broke")

    @rule(fails=st.booleans())
    def end_queued(self, fails: bool) -> None:
        if self.session.queued:
            error = RunError(code="internal", message="it broke")
            last = events.RunFailed(error=error) if fails else events.RunCancelled()
            runs.end(self.p.state, self.session.queued[0], last)

    @rule()
    def refuse(self) -> None:
        """A claim that no run can be made for."""
        route = self.p.state.definitions.by_kind["routes"].pop("local")
        delivery.claim(self.p.state, "s", 2.0**40)
        self.p.state.definitions.by_kind["routes"]["local"] = route

    @rule(which=st.integers(0, 5), what=st.sampled_from(["ack", "expire", "redeliver"]))
    def touch(self, which: int, what: str) -> None:
        messages = list(self.p.state.table(Message, "s").values())[-6:]
        if which >= len(messages):
            return
        message = messages[which]
        if what == "ack" and message.state in (MessageState.PENDING, MessageState.DELIVERED):
            letters.ack(self.p.state, "s", message.message_id, by="test")
        elif what == "expire" and message.state is MessageState.PENDING:
            self.p.state.append(events.MessageDied(message_id=message.message_id, reason="late").on("s"))
        elif what == "redeliver" and message.state is MessageState.DEAD_LETTER:
            doc = self.p.state.recalled(Message, message.key)
            assert doc is not None
            letters.redeliver(self.p.state, doc, doc["payload"], by="test")
            self.orders.pop(str(message.sender.name), None)  # it comes after those that were sent meanwhile

    @rule()
    def checkpoint(self) -> None:
        part = self.p.state.sessions["s"]

        self.p.state.append(loading.checkpoint(part).on("s"))

    @rule()
    def restart(self) -> None:
        live = stateful.table(self.p.state.sessions["s"])
        again = self.p.reloaded("s")
        assert stateful.table(again) == live

    @rule()
    def end_session(self) -> None:
        if len(self.seen) > 3:
            session_end.end(self.p.state, "s", by="test", reason=None, force=True)

    @invariant()
    def the_mailbox_fits_the_messages(self) -> None:
        if not hasattr(self, "p"):
            return
        messages = self.p.state.table(Message, "s")
        box = mailbox(self.p.state, "s") or Mailbox()
        by_state = {state: {key for key, one in messages.items() if one.state is state} for state in MessageState}
        assert set(box.pending) == by_state[MessageState.PENDING]
        assert set(box.claimed) == by_state[MessageState.DELIVERING]
        assert box.for_turns == sum(how == "next_turn" for how in box.pending.values())
        assert {key for keys in box.delivered.values() for key in keys} == by_state[MessageState.DELIVERED]
        assert (box.claimed_by is None) == (not box.claimed)
        for numbers in self.orders.values():
            assert numbers == sorted(numbers)
        if self.session.ended_at:
            assert not box.pending


@pytest.mark.demand(24)
def test_24_a_message_is_in_one_prompt_and_in_order() -> None:
    run_state_machine_as_test(Mail)


def test_the_table_names_all_moves() -> None:
    """Each pair of the table happens in some order of events; a pair that is missing changes nothing."""
    assert {state for state, _ in TRANSITIONS} == set(MessageState) - {MessageState.ACKED}


@pytest.mark.demand(24)
def test_24_delivered_is_one_group_with_the_start(p: Played) -> None:
    posted = post(p)
    run = delivery.claim(p.state, "s", 0.0)
    assert run is not None and p.state.get(Message, posted.key).state is MessageState.DELIVERING
    p.flush()
    begin(p, run)
    (group,) = p.groups
    assert b"run.started" in group.body and b"message.delivered" in group.body
    runs.complete(p.state, run.run_id, "done")
    assert p.state.get(Message, posted.key).state is MessageState.ACKED


@pytest.mark.demand(24)
def test_24_a_turn_has_it_in_one_group_with_the_request(p: Played) -> None:
    run = p.submit_run()
    begin(p, run)
    posted = post(p, "now")
    assert posted.delivery == "next_turn"
    p.flush()
    assert turn(p, run) == ["now"] and turn(p, run) == []
    (group, _) = p.groups
    assert b"model.requested" in group.body and b"message.delivered" in group.body
    assert p.state.get(Message, posted.key).run_id == run.run_id


def test_a_message_that_misses_its_run_gets_one(p: Played) -> None:
    run = p.submit_run()
    begin(p, run)
    post(p, "too late")
    assert delivery.claim(p.state, "s", 0.0) is None
    runs.complete(p.state, run.run_id, "done")
    assert delivery.claim(p.state, "s", 0.0) is not None


def test_the_same_id_is_one_message(p: Played) -> None:
    first = post(p, "a", message_id="m1")
    assert post(p, "a", message_id="m1") == first and pending(p.state, "s") == 1
    with pytest.raises(IdempotencyConflict):
        post(p, "b", message_id="m1")


def test_an_expired_message_is_not_delivered(p: Played) -> None:
    run = p.submit_run()
    begin(p, run)
    post(p, "old", expires_at="2026-01-01T00:00:00.000000Z")
    assert turn(p, run) == []
    runs.complete(p.state, run.run_id, "done")
    assert delivery.claim(p.state, "s", 0.0) is None


def test_a_mailbox_is_bounded(p: Played) -> None:
    p.submit_run()
    for number in range(letters.PENDING):
        post(p, str(number))
    with pytest.raises(MailboxFull):
        post(p, "one more")
    assert post(p, {"output": "x"}, type="task_result").state is MessageState.PENDING, "the daemon's own are not lost"
    with pytest.raises(TooLarge):
        post(p, "x" * (letters.MESSAGE_BYTES + 1), session_id="s")


def test_an_ended_session_makes_dead_letters(p: Played) -> None:
    before = post(p)
    session_end.end(p.state, "s", by="test", reason=None, force=True)
    after = post(p, "late")
    states = {p.state.get(Message, key).state for key in (before.key, after.key)}
    assert states == {MessageState.DEAD_LETTER} and after.last_error
    with pytest.raises(MessageStateConflict):
        letters.ack(p.state, "s", after.message_id, by="test")


def test_a_session_with_unread_messages_is_not_deleted_before_its_end(p: Played) -> None:
    post(p)
    with pytest.raises(SessionNotIdle):
        session_end.delete(p.state, "s", by="test")
    session_end.end(p.state, "s", by="test", reason=None, force=True)
    assert session_end.delete(p.state, "s", by="test")


@pytest.mark.parametrize(("marks", "expected"), [((True, True), "deny"), ((True, False), "ask"), ((False,), "ask")])
def test_no_person_attends_a_run_for_messages_of_unattended_runs(
    p: Played, marks: tuple[bool, ...], expected: str
) -> None:
    for mark in marks:
        post(p, unattended=mark)
    run = delivery.claim(p.state, "s", 0.0)
    assert run is not None and run.settings.unattended == expected


def test_five_failed_claims_make_a_dead_letter(p: Played) -> None:
    posted = post(p)
    del p.state.definitions.by_kind["routes"]["local"]
    for number in range(5):
        assert p.state.get(Message, posted.key).state is MessageState.PENDING, number
        assert delivery.claim(p.state, "s", 2.0**40) is None
    dead = p.state.get(Message, posted.key)
    assert dead.state is MessageState.DEAD_LETTER and "route" in (dead.last_error or "")


@pytest.mark.parametrize("kib", [15, 16, 17, 64])
def test_a_large_payload_is_stored_once(p: Played, kib: int) -> None:
    text = "é" * (kib * 512)
    posted = post(p, text)
    run = delivery.claim(p.state, "s", 0.0)
    assert run is not None
    p.flush()
    folder = p.root / p.state.get(Session, "s").path / "spill"  # it may be missing
    assert len(list(folder.glob("*"))) == (kib > 16)
    again = p.reloaded("s")
    assert again.tables[Message][posted.key] == p.state.get(Message, posted.key)
    assert again.tables[Run][run.run_id].request.items[1].text == p.state.get(Message, posted.key).payload


def test_an_object_that_looks_like_a_reference_is_data(p: Played) -> None:
    payload = {"sha256": "0" * 64, "bytes": 1, "preview": "x"}
    posted = post(p, payload)
    p.flush()
    assert p.state.payloads.read(p.state.get(Session, "s").path, posted.payload)  # type: ignore[arg-type]
    assert posted.structured


def test_checkpoints_hold_open_messages(p: Played) -> None:

    post(p, delivery="next_turn")
    p.state.append(loading.checkpoint(p.state.sessions["s"]).on("s"))
    again = p.reloaded("s")
    assert again.tables[Mailbox]["s"] == mailbox(p.state, "s")
