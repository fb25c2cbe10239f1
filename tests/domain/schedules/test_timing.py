"""Occurrences: both DST nights in three zones as a table, and properties of all cadences (demands 9 and 25)."""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from kheish.domain.schedules import timing
from kheish.domain.schedules.timing import Cadence

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
NIGHTS = {
    BERLIN: ("2026-03-29", "2026-10-25"),
    NEW_YORK: ("2026-03-08", "2026-11-01"),
    LORD_HOWE: ("2026-10-04", "2026-04-05"),
}


def cron(expression: str, zone: str) -> Cadence:
    return Cadence(text=f"cron {expression}", zone=zone, cron=expression)


def of_night(expression: str, zone: str, day: str) -> list[str]:
    """The local times with offsets at which it occurs between midnight and five, one found after the other."""
    start = int(datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo(zone)).timestamp())
    end = int(datetime.fromisoformat(f"{day}T05:00").replace(tzinfo=ZoneInfo(zone)).timestamp())
    times, now = [], start - 1
    while (found := timing.after(cron(expression, zone), 0, now)) is not None and found < end:
        times.append(timing.local(found, zone)[11:16] + timing.local(found, zone)[19:])
        now = found
    return times


@pytest.mark.demand(25)
@pytest.mark.parametrize(
    ("expression", "zone", "night", "times"),
    [
        # A fixed time that is skipped occurs at the first valid minute.
        ("30 2 * * *", BERLIN, 0, ["03:00+02:00"]),
        ("30 2 * * *", NEW_YORK, 0, ["03:00-04:00"]),
        ("15 2 * * *", LORD_HOWE, 0, ["02:30+11:00"]),
        ("15 2,3 * * *", BERLIN, 0, ["03:00+02:00", "03:15+02:00"]),
        ("0 2,3 * * *", BERLIN, 0, ["03:00+02:00"]),
        # A fixed time that repeats occurs once, the first time.
        ("30 2 * * *", BERLIN, 1, ["02:30+02:00"]),
        ("30 1 * * *", NEW_YORK, 1, ["01:30-04:00"]),
        ("45 1 * * *", LORD_HOWE, 1, ["01:45+11:00"]),
        # A wildcard or a step keeps its real cadence.
        ("0 * * * *", BERLIN, 0, ["00:00+01:00", "01:00+01:00", "03:00+02:00", "04:00+02:00"]),
        ("0 * * * *", BERLIN, 1, ["00:00+02:00", "01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00",
                                  "04:00+01:00"]),
        ("*/30 1 * * *", NEW_YORK, 1, ["01:00-04:00", "01:30-04:00", "01:00-05:00", "01:30-05:00"]),
        ("*/30 2 * * *", NEW_YORK, 0, []),
        ("*/30 1,2 * * *", LORD_HOWE, 0, ["01:00+10:30", "01:30+10:30", "02:30+11:00"]),
        ("*/15 2 * * *", LORD_HOWE, 1, ["02:00+10:30", "02:15+10:30", "02:30+10:30", "02:45+10:30"]),
        ("5 */2 * * *", LORD_HOWE, 1, ["00:05+11:00", "02:05+10:30", "04:05+10:30"]),
        ("*/20 1 * * *", LORD_HOWE, 1, ["01:00+11:00", "01:20+11:00", "01:40+11:00", "01:40+10:30"]),
    ],
)  # fmt: skip
def test_both_nights_in_three_zones(expression: str, zone: str, night: int, times: list[str]) -> None:
    assert of_night(expression, zone, NIGHTS[zone][night]) == times


@pytest.mark.parametrize("zone", NIGHTS)
@pytest.mark.parametrize("expression", ["30 2 * * *", "45 1 * * *", "15 2,3 * * *", "*/15 * * * *", "5 */2 * * *"])
def test_what_was_missed_is_what_would_have_occurred_whatever_the_night(zone: str, expression: str) -> None:
    for day in NIGHTS[zone]:
        middle = int(datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo(zone)).timestamp())
        cadence, end = cron(expression, zone), middle + 86_400
        forward = list(takewhile(lambda at, end=end: at <= end, timing._forward(expression, zone, middle - 43_200)))
        for upto in (*forward, *range(middle, middle + 6 * 3600, 1277)):
            known = [at for at in forward if at <= upto]
            assert list(timing.missed(cadence, 0, forward[0], upto).times) == known
            after = timing.after(cadence, 0, upto)
            assert after is not None and after > upto and (after > end or after == forward[len(known)])


EVERY = st.integers(5, 10**6)
MOMENTS = st.integers(1_500_000_000, 2_200_000_000)


@given(every=EVERY, anchor=MOMENTS, later=st.integers(0, 10**8))
def test_an_interval_keeps_its_phase_and_never_occurs_early(every: int, anchor: int, later: int) -> None:
    cadence = Cadence(text="", zone="UTC", every=every)
    next = timing.after(cadence, anchor, anchor + later)
    assert next is not None and anchor + later < next <= anchor + later + every and (next - anchor) % every == 0


@given(every=st.integers(5, 5000), anchor=MOMENTS, steps=st.integers(0, 3000), most=st.integers(1, 50))
@settings(max_examples=60)
def test_missed_occurrences_are_bounded_and_none_is_left_out(every: int, anchor: int, steps: int, most: int) -> None:
    cadence, first = Cadence(text="", zone="UTC", every=every), anchor + every
    upto = first + steps * every + every // 2
    missed = timing.missed(cadence, anchor, first, upto, most)
    whole = list(range(first, upto + 1, every))
    assert list(missed.times) == whole[-most:]
    assert missed.earlier == ((first, whole[-most - 1]) if len(whole) > most else None)
    assert timing.missed(cadence, anchor, first, first - 1).times == ()


@given(MOMENTS, st.integers(-(10**6), 10**6))
def test_a_single_time_occurs_once(at: int, shift: int) -> None:
    cadence = Cadence(text="", zone="UTC", at=at)
    assert timing.after(cadence, 0, at + shift) == (at if shift < 0 else None)


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "5-20/5", "1,59"]),
    st.sampled_from(["*", "*/2", "2", "1-3", "0", "23"]),
    st.sampled_from(["*", "1", "L", "15", "*/10"]),
    st.sampled_from(["*", "1-6", "MAR,OCT", "4"]),
    st.sampled_from(["*", "MON-FRI", "0", "7#1", "5L"]),
)


@given(FIELDS, st.sampled_from([*NIGHTS, "UTC", "Asia/Kolkata"]), MOMENTS)
@settings(max_examples=150, deadline=None)
def test_back_and_forth_agree_for_any_expression(fields: tuple[str, ...], zone: str, moment: int) -> None:
    expression = " ".join(fields)
    forward = timing._forward(expression, zone, moment)
    times = [at for at, _ in zip(forward, range(4), strict=False)]
    assert times == sorted(set(times)) and all(at > moment for at in times)
    if times:
        assert list(timing.missed(cron(expression, zone), 0, times[0], times[-1]).times) == times


@pytest.mark.parametrize("text", ["0 9 * * 1-5", "*/5 * * * *", "0 0 L * *", "0 9 * * MON#2", "@hourly", "@Yearly",
                                  "0 0 29 2 *", "0 0 LW * *"])  # fmt: skip
def test_what_cron_may_say(text: str) -> None:
    assert timing.check_cron(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*/10 * * * * *", r"six fields.*every: 10s"),
        ("0 0 30 2 *", "day-of-month"),
        ("0 0 */16 2 MON#5", "never occurs"),
        ("* * * *", "five fields"),
        ("61 * * * *", "bad minute"),
        ("0 9 * * FUN", "bad day-of-week"),
        ("@reboot", "not known here"),
        ("", "five fields"),
        ("0 9 * * ²L", "bad day-of-week"),
    ],
)
def test_what_cron_may_not_say_and_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        timing.check_cron(text)


def test_a_zone_and_a_time_as_people_write_them() -> None:
    assert timing.instant("2026-12-01T09:00Z", BERLIN) == timing.instant("2026-12-01 10:00", BERLIN)
    assert timing.local(timing.instant("2026-12-01T09:00", NEW_YORK), NEW_YORK) == "2026-12-01T09:00:00-05:00"
    for wrong in ("tomorrow", "2026-12-01", "9:00"):
        with pytest.raises(ValueError, match=r"is (not|a)"):
            timing.instant(wrong, BERLIN)
    for zone in ("Mars/Olympus", "../etc/passwd", "", "Europe/Berlin\0"):
        with pytest.raises(ValueError, match="not a time zone"):
            timing.check_zone(zone)
    assert timing.local_zone({"TZ": NEW_YORK}) == NEW_YORK
    assert timing.local_zone({"TZ": "nonsense"})


def test_the_jitter_of_a_schedule_is_always_the_same() -> None:
    delays = {timing.jitter(f"s{number}", 30.0) for number in range(100)}
    assert len(delays) > 15 and all(0 <= delay < 30 for delay in delays)
    assert timing.jitter("s1", 30.0) == timing.jitter("s1", 30.0) and timing.jitter("s1", 0.0) == 0


@pytest.mark.demand(25)
@pytest.mark.parametrize(
    ("zone", "text", "local"),
    [
        # A single time that is skipped is at the first valid minute, as a fixed time of cron is.
        (BERLIN, "2027-03-28T02:00", "03:00+02:00"),
        (BERLIN, "2027-03-28T02:30", "03:00+02:00"),
        (BERLIN, "2027-03-28T02:59:59", "03:00+02:00"),
        (BERLIN, "2027-03-28T01:59:59", "01:59+01:00"),
        (BERLIN, "2027-03-28T03:00", "03:00+02:00"),
        (BERLIN, "2027-10-31T02:30", "02:30+02:00"),
        (NEW_YORK, "2027-03-14T02:30", "03:00-04:00"),
        (LORD_HOWE, "2026-10-04T02:10", "02:30+11:00"),
        (BERLIN, "2027-03-28T02:30+01:00", "03:30+02:00"),
    ],
)
def test_a_single_time_that_a_zone_skips(zone: str, text: str, local: str) -> None:
    found = timing.local(timing.instant(text, zone), zone)
    assert found[11:16] + found[19:] == local
