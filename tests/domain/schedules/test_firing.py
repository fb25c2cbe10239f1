"""The verbs of a schedule and the states of a fire, without a daemon (demands 9 and 25)."""

from __future__ import annotations

import asyncio
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from kheish import ids
from kheish.domain import events
from kheish.domain.schedules import fire as fires, firing, schedule as schedules, timing
from kheish.domain.schedules.definition import ScheduleFile
from kheish.domain.schedules.fire import MOVES, Fire, FireState
from kheish.domain.schedules.firing import Obstacle
from kheish.domain.schedules.schedule import SCHEDULES, Schedule
from kheish.state import pins
from tests.support.stateful import Played

START = {"session": "s", "input": {"content": "x"}}
NOW = 1_800_000_000.0


def file(**fields: Any) -> ScheduleFile:
    return ScheduleFile.model_validate({"every": "60s", "start": START, **fields})


class Clock:
    """A wall clock that people set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Life:
    """One schedule, and what a reactor does with it."""

    def __init__(self, root: Path, **fields: Any) -> None:
        self.clock = Clock()
        self.p = Played(root, clock=self.clock)
        self.file, self.edits = file(**fields), 0

    async def set(self, **fields: Any) -> Schedule:
        self.file, self.edits = file(**fields) if fields else self.file, self.edits + bool(fields)
        async with pins.owner(self.p.state, SCHEDULES, "a"):
            return firing.set_file(
                self.p.state, "a", self.file, f"digest {self.edits}", now=self.clock.now, by="person"
            )

    @property
    def schedule(self) -> Schedule:
        return firing.get(self.p.state, "a")

    async def occur(self, busy: Obstacle | None = None) -> str | None:
        """What the reactor does when something is due: skipped, queued, started; None if nothing is."""
        async with pins.owner(self.p.state, SCHEDULES, "a"):
            due = firing.due(self.file, self.schedule, self.clock.now)
            if due is None:
                return None
            why = firing.obstacle(self.file, self.schedule, due, busy or Obstacle(reason="overlap"))
            if why is not None:
                self.p.state.append(firing.skipped("a", due, why))
                return "skipped"
            is_queued = firing.is_queued(self.file, self.schedule)
            drafts = firing.claimed(self.file, self.schedule, due)
            planned = ids.stamp(due.planned)
            if not is_queued:
                drafts.append(firing.dispatched("a", planned, "s", run_id=f"run_{due.planned}"))
            self.p.state.append(*drafts)
            return "queued" if is_queued else "started"

    async def settle(self, end: str = "settled") -> None:
        async with pins.owner(self.p.state, SCHEDULES, "a"):
            started = [one for one in self.schedule.in_flight if one.is_started]
            if started:
                self.p.state.append(*firing.settled(self.file, self.schedule, started[0].planned, end, "why"))  # type: ignore[arg-type]
            if (planned := firing.may_follow(self.schedule)) is not None:
                self.p.state.append(firing.dispatched("a", planned, "s", run_id=f"run_{planned}"))


@pytest.fixture
def life(tmp_path: Path) -> Any:
    made = Life(tmp_path)
    yield made
    made.p.index.close()


EVENTS = [
    events.FireClaimed(schedule_id="a", planned="t", next=None),
    events.FireDispatched(schedule_id="a", planned="t", session_id="s", run_id="r"),
    events.FireDelayed(schedule_id="a", planned="t", attempt=1, until="u", reason="why"),
    events.FireSettled(schedule_id="a", planned="t", state="failed"),
]


@pytest.mark.parametrize(("state", "event"), list(product(FireState, EVENTS[1:])))
def test_only_the_moves_of_the_table_are_folded(state: FireState, event: Any) -> None:
    before = Fire(fire_id="a@t", schedule_id="a", planned="t", state=state, made=1, n=1)
    table = {"a@t": before}
    entry = events.Entry(n=2, seq=2, at="now", session=None, run=None, actor="x", event=event)
    fires.fold(table, entry)
    possible = MOVES.get((state, type(event)))
    assert (table["a@t"] == before) if possible is None else table["a@t"].state in possible
    assert state not in fires.FINAL or possible is None, "an end is an end"


@pytest.mark.demand(25)
async def test_a_save_never_fires_the_past_and_a_cadence_keeps_its_phase(life: Life) -> None:
    first = await life.set()
    assert timing.read(first.next or "") == NOW + 60
    life.clock.now += 130
    assert await life.occur() == "started"
    assert timing.read(life.schedule.next or "") == NOW + 180, "the phase stays"
    again = await life.set(every="60s", title="other words")
    assert (again.next, again.anchor) == (ids.stamp(NOW + 180), first.anchor)
    life.clock.now += 1000
    other = await life.set(every="90s")
    assert timing.read(other.next or "") == life.clock.now + 90
    assert await life.occur() is None


@pytest.mark.demand(9)
async def test_an_edit_after_the_clock_went_back_claims_no_time_again(life: Life) -> None:
    await life.set(cron="0 * * * *", every=None)
    life.clock.now += 7200
    assert await life.occur() == "started"
    await life.settle()
    reached = timing.read(life.schedule.reached or "")
    life.clock.now -= 5000
    edited = await life.set(cron="*/30 * * * *", every=None)
    assert timing.read(edited.next or "") > reached
    life.clock.now -= 10 * 86_400
    edited = await life.set(cron="0 * * * *", every=None)
    assert timing.read(edited.next or "") < reached, "a clock that was wrong for days does not stop it for days"


@pytest.mark.demand(25)
@pytest.mark.parametrize(
    ("fields", "late", "outcome", "skips"),
    [
        ({}, 0, "started", 0),
        ({}, 300, "started", 5),
        ({}, 43_200, "started", 720),
        ({"misfire": "skip"}, 300, "started", 5),  # the newest is within its grace
        ({"misfire": "skip", "every": "1h"}, 1000, "skipped", 1),
        ({"misfire": "skip", "every": "1h", "grace": "30m"}, 1000, "started", 0),
        ({"every": "1h"}, 1000, "started", 0),
    ],
)
async def test_what_was_missed(life: Life, fields: dict[str, Any], late: int, outcome: str, skips: int) -> None:
    schedule = await life.set(**fields)
    life.clock.now = timing.read(schedule.next or "") + late
    assert await life.occur() == outcome
    assert life.schedule.counts.skipped == skips
    assert timing.read(life.schedule.next or "") > life.clock.now
    assert await life.occur() is None, "at most one for each schedule"


async def test_more_than_a_thousand_missed_are_one_range_and_the_newest(life: Life) -> None:
    await life.set(every="5s")
    life.clock.now += 100_000
    assert await life.occur() == "started"
    life.p.flush()
    found = life.p.state.index.things("fire", limit=2000).items
    assert len(found) == timing.MOST_MISSED + 1
    [whole] = [one for one in found if one["until"] is not None]
    assert whole["planned"] == ids.stamp(NOW + 5) and whole["state"] == "skipped"


@pytest.mark.parametrize(
    ("overlap", "outcomes"),
    [
        ("skip", ["started", "skipped", "skipped"]),
        ("queue_one", ["started", "queued", "skipped"]),
        ("parallel", ["started", "started", "started"]),
    ],
)
async def test_what_overlaps(life: Life, overlap: str, outcomes: list[str]) -> None:
    await life.set(overlap=overlap)
    seen = []
    for _ in range(3):
        life.clock.now += 60
        seen.append(await life.occur())
    assert seen == outcomes
    await life.settle()
    started = [one for one in life.schedule.in_flight if one.is_started]
    assert len(started) == {"skip": 0, "queue_one": 1, "parallel": 2}[overlap]


@pytest.mark.demand(25)
async def test_three_skips_behind_a_waiting_run_block_it_until_the_run_has_ended(life: Life) -> None:
    await life.set()
    life.clock.now += 60
    await life.occur()
    [run] = [one.run_id for one in life.schedule.in_flight]
    for count in (1, 2, 3):
        life.clock.now += 60
        assert await life.occur(Obstacle(reason="waits for appr_1", behind=run)) == "skipped"
        assert life.schedule.is_blocked is (count == 3)
    await life.settle()
    assert not life.schedule.is_blocked


async def test_pauses_runs_failures_and_the_file(life: Life) -> None:
    await life.set(pause_after_failures=2, max_runs=4)
    for number in range(2):
        life.clock.now += 60
        assert await life.occur() == "started"
        await life.settle("failed")
        assert life.schedule.is_paused is (number == 1)
    life.clock.now += 60
    assert await life.occur() == "skipped", "the occurrences of a paused schedule have an outcome, too"
    firing.resume(life.p.state, "a", by="x")
    assert life.schedule.failures == 0
    for state in ("active", "completed"):
        life.clock.now += 60
        assert await life.occur() == "started"
        await life.settle()
        assert life.schedule.state == state
    assert life.schedule.next is None
    await life.set(pause_after_failures=2, max_runs=9, paused=True)
    assert life.schedule.state == "paused" and life.schedule.next is not None
    firing.resume(life.p.state, "a", by="x")
    await life.set(pause_after_failures=2, max_runs=8, paused=True)
    assert life.schedule.state == "active", "the line was not changed"
    firing.remove(life.p.state, "a", by="x")
    assert firing.find(life.p.state, "a").state == "removed"  # type: ignore[union-attr]
    await life.set()
    assert (life.schedule.state, life.schedule.runs) == ("active", 0) or life.schedule.is_paused


def test_the_session_of_a_fire_has_a_legal_name() -> None:
    for id in ("a", "x" * 128, "night.ly-", "a_"):
        name = firing.session_of(id, ids.stamp(NOW + 0.000001))
        assert ids.is_slug(name), name
    assert firing.session_of("a", ids.stamp(NOW)) == "a-20270115t080000"


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("time"), st.integers(-4000, 9000)),
        st.tuples(st.just("settle"), st.sampled_from(["settled", "failed"])),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("edit"), st.sampled_from(["60s", "90s", "1h"])),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=30,
)


@pytest.mark.demand(9)
@settings(max_examples=40, deadline=None)
@given(ACTS, st.sampled_from(["skip", "queue_one", "parallel"]))
def test_no_time_is_claimed_twice_or_early_whatever_happens(acts: list[tuple[str, Any]], overlap: str) -> None:
    async def live(folder: Path) -> None:
        life = Life(folder)
        every = "60s"
        await life.set(every=every, overlap=overlap)
        closing = [life.p]
        latest = NOW
        for what, value in acts:
            match what:
                case "time":
                    life.clock.now += value
                case "settle":
                    await life.settle(value)
                case "pause":
                    (firing.pause if value else firing.resume)(life.p.state, "a", by="x")
                case "edit":
                    every = value
                    await life.set(every=every, overlap=overlap)
                case _:
                    life.p = life.p.restart(clock=life.clock)
                    closing.append(life.p)
                    await life.set()
            latest = max(latest, life.clock.now)
            await life.occur()
        life.p.flush()
        lines = [line for one in closing for line in one.lines]
        claims = [line["data"]["planned"] for line in lines if line["kind"] == "fire.claimed"]
        at = {line["data"]["planned"]: line["at"] for line in lines if line["kind"] == "fire.claimed"}
        skips = [planned for line in lines if line["kind"] == "fire.skipped" for planned in line["data"]["planned"]]
        assert len(set(claims)) == len(claims)
        assert all(planned <= when for planned, when in at.items()), "never early"
        assert not set(claims) & set(skips), "each occurrence has one outcome"
        schedule = life.schedule
        assert schedule.counts.claimed == len(claims) and schedule.counts.skipped == len(skips)
        folded = life.p.restart(clock=life.clock)
        closing.append(folded)
        async with pins.owner(folded.state, SCHEDULES, "a"):
            assert firing.get(folded.state, "a") == schedule, "what is read back is what was"
        for one in closing:
            one.index.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder)))


def test_documents_are_the_whole_value() -> None:
    fire = Fire(fire_id="a@t", schedule_id="a", planned="t", state=FireState.CLAIMED, made=1, n=1)
    from kheish.state import encoding

    assert fires.read(encoding.plain(fires.view(fire))) == fire
    one = Schedule(schedule_id="a", digest="d", cadence="every 5s", timezone="UTC", anchor="t", next=None, made=1, n=1,
                   in_flight=(schedules.OpenFire(planned="t", run_id="r"),))  # fmt: skip
    assert schedules.read(encoding.plain(schedules.view(one))) == one
