"""Pauses, circuits, lanes and the state machine of deliveries, as properties."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from kheish.domain import events
from kheish.domain.deliveries import delivery, rules
from kheish.domain.deliveries.delivery import MOVES, OPEN, STUCK, Delivery, DeliveryState, read, view
from kheish.domain.deliveries.rules import FAILURES, Circuit, Waiting
from kheish.domain.events import Entry
from kheish.runtime.outputs.lanes import Lane
from kheish.state.encoding import plain

SECONDS = st.floats(min_value=0, max_value=1e6, allow_nan=False)


@given(st.text(max_size=20), st.integers(1, 10_000), st.floats(1, 86_400), st.none() | st.floats(0, 1e6))
def test_a_pause_is_bounded_steady_and_never_shorter_than_was_asked(
    id: str, attempts: int, most: float, asked: float | None
) -> None:
    pause = rules.pause(id, attempts, most=most, retry_after=asked)
    assert pause == rules.pause(id, attempts, most=most, retry_after=asked)
    assert pause >= min(asked or 0, 86_400)
    assert 0.5 * min(most, 2.0 ** min(attempts - 1, 40)) <= pause or asked
    if not asked:
        assert pause <= most


def test_pauses_double_up_to_the_longest() -> None:
    spans = [rules.pause("d", attempt, most=600) for attempt in range(1, 15)]
    assert all(2.0**at / 2 <= span <= 2.0**at for at, span in enumerate(spans[:9]))
    assert all(300 <= span <= 600 for span in spans[10:])


@given(st.lists(st.tuples(st.sampled_from(["failed", "answered", "throttled"]), st.floats(0.1, 100)), max_size=30))
def test_a_circuit_opens_after_three_failures_in_a_row_and_lets_one_attempt_through(
    steps: list[tuple[str, float]],
) -> None:
    circuit, now, row = Circuit(), 0.0, 0
    for step, span in steps:
        now += span
        match step:
            case "failed":
                circuit, row = circuit.failed(now, span), row + 1
                assert (circuit.until >= now + span) is (row >= FAILURES) or row < FAILURES
            case "answered":
                circuit, row = circuit.answered(), 0
            case "throttled":
                circuit = circuit.throttled(now + span)
                assert rules.room(circuit, now, 0, is_strict=False, at_once=8) == 0
        assert circuit.is_probing is (row >= FAILURES)
        if circuit.is_probing:
            later = circuit.until + 1
            assert rules.room(circuit, later, 0, is_strict=False, at_once=8) == 1
            assert rules.room(circuit, later, 1, is_strict=False, at_once=8) == 0
    assert rules.room(circuit.answered(), circuit.until + 1, 0, is_strict=False, at_once=8) == 8


@given(st.lists(st.tuples(SECONDS, st.booleans()), max_size=60), st.booleans())
@settings(deadline=None)
def test_a_lane_gives_each_delivery_once_per_turn_and_a_strict_one_in_order(
    rows: list[tuple[float, bool]], is_strict: bool
) -> None:
    lane = Lane("k", "o")
    for made, (at, _) in enumerate(rows):
        lane.add(Waiting(f"d{made}", "s", made, at))
    removed = {f"d{made}" for made, (_, gone) in enumerate(rows) if gone}
    for id in removed:
        lane.remove(id)
    now, taken, again = 0.0, [], set()
    while lane.waiting:
        one = lane.take(now, is_strict=is_strict)
        if one is None:
            at = lane.next_at(now, is_strict=is_strict)
            assert at is not None and at > now
            now = at
            continue
        assert one.at <= now
        if one.made % 3 == 0 and one.delivery_id not in again:  # a retry
            again.add(one.delivery_id)
            lane.add(Waiting(one.delivery_id, "s", one.made, now + 1))
            continue
        taken.append(one.made)
    assert sorted(taken) == [made for made in range(len(rows)) if f"d{made}" not in removed]
    if is_strict:
        assert taken == sorted(taken)


# --- the state machine ------------------------------------------------------------------------------------------------

D = "dlv_1"
LATER = [cls for cls in delivery.FOLDED if cls is not events.DeliveryCreated]  # its id follows from the output


def event_of(cls: type[events.Event], known: Delivery | None) -> events.Event:
    doc = plain(known) if known is not None else {}
    match cls:
        case events.DeliveryCreated:
            return events.DeliveryCreated(delivery_id=D, output_id="o", output_kind="final", target={"output": "x"})
        case events.DeliveryStarted:
            return events.DeliveryStarted(delivery_id=D, attempt=(known.attempts if known else 0) + 1)
        case events.DeliveryProgressed:
            return events.DeliveryProgressed(delivery_id=D, parts_done=1, parts=3)
        case events.DeliveryDelayed:
            until = "2026-11-29T00:00:00.000000Z"
            return events.DeliveryDelayed(delivery_id=D, reason="r", until=until, unknown_end=True)
        case events.DeliveryDelivered:
            return events.DeliveryDelivered(delivery_id=D, parts=3)
        case events.DeliveryHeld:
            return events.DeliveryHeld(delivery_id=D, reason="r")
        case events.DeliveryDied:
            return events.DeliveryDied(delivery_id=D, output="x", reason="r")
        case events.DeliveryResolved:
            return events.DeliveryResolved(delivery_id=D, reason="r", delivery=doc)
        case _:
            return events.DeliveryReplayed(delivery_id=D, delivery=doc)


@given(st.lists(st.sampled_from(LATER), max_size=40), st.booleans())
def test_the_fold_follows_the_table_also_after_an_ended_delivery_left_memory(
    steps: list[type[events.Event]], drops: bool
) -> None:
    table: dict[str, Delivery] = {}
    last: Delivery | None = None
    for n, cls in enumerate([events.DeliveryCreated, *steps], 1):
        event = event_of(cls, last)
        entry = Entry(n=n, seq=n, at="2026-11-29T00:00:00.000000Z", session="s", run="r", actor="d", event=event)
        before = last.state if last is not None else None
        changed = list(delivery.fold(table, entry))
        if (before, cls) not in MOVES:
            assert not changed or before is None
            continue
        now = table.get(D)
        if not changed:  # it had left memory, and the event does not carry it
            assert drops and before not in OPEN
            continue
        assert now is not None and now.state == MOVES[before, cls]
        assert not (last is not None and last.unknown_end and not now.unknown_end), "an unknown end stays known"
        assert read(plain(view(now))) == now
        last = now
        if drops and not now.is_open:
            del table[D]


def test_every_state_can_be_left_or_is_final() -> None:
    left = {state for state, _ in MOVES if state is not None}
    assert set(DeliveryState) - left == {DeliveryState.DELIVERED, DeliveryState.RESOLVED}
    assert all(
        (state, events.DeliveryReplayed) in MOVES and (state, events.DeliveryResolved) in MOVES for state in STUCK
    )
