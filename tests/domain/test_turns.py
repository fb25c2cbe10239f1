"""The stage of a tool call: exactly one at any time, by whatever legal way the call came there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import given, strategies as st

from kheish.domain import events, turns
from kheish.domain.calls import STAGES, Stage
from kheish.domain.events import Entry, Event
from kheish.domain.turns import Turn

MADE: Mapping[str, Callable[[int], Event]] = {
    "allow": lambda n: decided("allow"),
    "ask": lambda n: decided("ask"),
    "deny": lambda n: decided("deny"),
    "request": lambda n: events.ApprovalRequested(
        approval_id=f"a{n}", call_id="c", tool="bash", arguments={}, digest="d", why="", risk="low"
    ),
    "edit": lambda n: events.ApprovalDecided(
        approval_id=f"a{n}", by="ann", person="ann", arguments={"b": 1}, digest="e"
    ),
    "start": lambda n: events.ToolStarted(
        call_id="c", tool="bash", arguments={}, digest="", key="", effect="effect", replay="unsafe"
    ),
    "tool question": lambda n: events.QuestionAsked(question_id=f"q{n}", call_id="c", questions=()),
    "outcome question": lambda n: events.QuestionAsked(
        question_id=f"q{n}", call_id="c", questions=(), purpose="ambiguous"
    ),
    "answer": lambda n: events.QuestionAnswered(question_id=f"q{n}", outcome="answered"),
    "finish": lambda n: events.ToolFinished(call_id="c", tool="bash", is_error=False, content=""),
    **{
        outcome: lambda n, outcome=outcome: events.ApprovalResolved(approval_id=f"a{n}", outcome=outcome)
        for outcome in ("allowed", "denied", "expired", "cancelled")
    },
}
#: (state of the call, what happens) → its next state. The states of the two questions differ in what follows.
LEGAL: Mapping[str, Mapping[str, str]] = {
    "undecided": {"allow": "allowed", "ask": "asking", "deny": "denied", "finish": "finished"},
    "asking": {"request": "awaits_approval"},
    "awaits_approval": {
        "edit": "awaits_approval",
        "allowed": "approved",
        "denied": "denied",
        "expired": "denied",
        "cancelled": "denied",
        "finish": "finished",
    },
    "approved": {"request": "awaits_approval", "start": "started", "finish": "finished"},
    "allowed": {"start": "started", "finish": "finished"},
    "denied": {"finish": "finished"},
    "started": {"tool question": "asks", "outcome question": "lost", "start": "started", "finish": "finished"},
    "asks": {"answer": "answered", "finish": "finished"},
    "lost": {"answer": "settled", "finish": "finished"},
    "answered": {"finish": "finished"},
    "settled": {"start": "started", "finish": "finished"},
    "finished": {},
}
STAGE = {state: Stage(state) for state in LEGAL if state in set(Stage)} | {
    "asking": Stage.UNDECIDED,  # the request is in the same group: were it lost, the call is decided anew
    "asks": Stage.AWAITS_ANSWER,
    "lost": Stage.AWAITS_ANSWER,
}


def decided(verdict: str) -> events.PermissionDecided:
    return events.PermissionDecided(call_id="c", tool="bash", decision=verdict, why="")


def entry(event: Event, n: int) -> Entry:
    return Entry(n=n, seq=n, at="2026-01-01T00:00:00.000000Z", session="s", run="r", actor="daemon", event=event)


def asked(nudge: events.Nudged | None = None) -> dict[str, Turn]:
    """A turn with one call, which answers a nudge."""
    table: dict[str, Turn] = {}
    calls = (events.ModelCall(id="c", name="bash", arguments={}),)
    for event in (nudge, events.ModelResponded(turn=0, text="", calls=calls, route="local")):
        if event is not None:
            turns.fold(table, entry(event, 1))
    return table


@given(data=st.data())
def test_every_legal_history_of_a_call_leads_to_one_stage(data: st.DataObject) -> None:
    table, at = asked(), "undecided"
    numbers = {"a": 0, "q": 0}
    for n in range(2, 20):
        (call,) = table["r"].calls
        assert call.stage is STAGE[at]
        assert call.finished is (call not in table["r"].open_calls)
        if not LEGAL[at]:
            break
        move = data.draw(st.sampled_from(sorted(LEGAL[at])))
        which = "q" if "question" in move or move == "answer" else "a"
        numbers[which] += "question" in move or move == "request"
        turns.fold(table, entry(MADE[move](numbers[which]), n))
        at = LEGAL[at][move]


def test_calls_of_an_answer_that_mends_were_offered_no_tools() -> None:
    mends = asked(events.Nudged(text="", reason="output_contract"))
    assert [call.stage for call in mends["r"].open_calls] == [Stage.UNOFFERED]
    reminded = asked(events.Nudged(text="", reason="completion"))
    assert [call.stage for call in reminded["r"].open_calls] == [Stage.UNDECIDED]


def test_the_table_has_each_stage_once() -> None:
    assert sorted(stage for stage, _ in STAGES) == sorted(Stage)
