"""The conversation: folded from entries, cut by compactions, and what a reader needs to make it again."""

from __future__ import annotations

from kheish.domain import events, runs
from kheish.domain.messages import Conversation
from kheish.domain.runs import Run
from tests.support.stateful import Played


def talk(p: Played) -> Conversation:
    return p.state.table(Conversation, "s")["s"]


def shown(p: Played) -> list[tuple[str, str]]:
    return [(one.role, one.text if isinstance(one.text, str) else "") for one in talk(p).messages]


def started(p: Played) -> Run:
    return p.move(p.submit_run().run_id, events.RunStarted())


def say(p: Played, run: Run, *texts: str) -> None:
    p.move(run.run_id, *(events.ModelResponded(turn=0, text=text) for text in texts))


def test_an_input_is_said_when_its_run_starts(p: Played) -> None:
    first, second = p.submit_run("one"), p.submit_run("two")
    assert talk(p).messages == []
    p.move(second.run_id, events.RunStarted())
    p.move(first.run_id, events.RunStarted())
    assert [message.items[0].text for message in talk(p).messages] == ["two", "one"]
    assert [message.source for message in talk(p).messages] == [3, 2]


def test_the_input_of_a_run_that_never_starts_is_never_said(p: Played) -> None:
    run = p.submit_run()
    runs.cancel(p.state, run.run_id, by="me")
    assert talk(p).messages == [] and talk(p).inputs == {}


def test_a_compaction_puts_a_summary_for_what_it_covers(p: Played) -> None:
    run = started(p)
    say(p, run, "a", "b", "c")
    p.move(run.run_id, events.ContextCompacted(summary="so far", covers=talk(p).messages[2].seq))
    assert shown(p) == [("summary", "so far"), ("assistant", "c")]


def test_a_second_summary_replaces_the_first(p: Played) -> None:
    run = started(p)
    say(p, run, "a", "b", "c")
    p.move(run.run_id, events.ContextCompacted(summary="first", covers=talk(p).messages[2].seq))
    kept = talk(p).messages[1]
    assert kept.seq < talk(p).messages[0].seq, "what is kept stands before the summary in the journal"
    p.move(run.run_id, events.ContextCompacted(summary="second", covers=kept.seq))
    assert shown(p) == [("summary", "second")]
    assert p.reloaded("s").tables[Conversation]["s"].messages == talk(p).messages


def test_a_reader_needs_entries_from_the_oldest_source_on(p: Played) -> None:
    assert Conversation().needs_from(9) == 9
    waiting = p.submit_run("waits")
    run = started(p)
    assert talk(p).needs_from(99) == 2, "the input of a queued run is needed too"
    runs.cancel(p.state, waiting.run_id, by="me")
    assert talk(p).needs_from(99) == 3
    say(p, run, "a", "b")
    p.move(run.run_id, events.ContextCompacted(summary="x", covers=talk(p).messages[-1].seq))
    assert talk(p).needs_from(99) == talk(p).messages[0].seq
