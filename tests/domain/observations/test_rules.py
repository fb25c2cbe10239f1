"""The rules of sources: what a file may say, what retention purges, and what a selection may name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Entry, ObservationFile, changed
from kheish.domain.observations import observation as observations, retention, source as sources
from kheish.domain.observations.definition import SourceFile, SourceRetention
from kheish.domain.observations.observation import Observation
from kheish.domain.observations.selection import Selection, utc
from kheish.domain.observations.source import Source
from kheish.state import encoding

NOW = 1_800_000_000.0


def entry(n: int, event: Any, at: float = NOW) -> Entry:
    return Entry(n=n, seq=n, at=ids.stamp(at), session=None, run=None, actor="token:x", event=event)


def stored(n: int, first: int, count: int) -> Entry:
    file = ObservationFile(batch_id=f"b{first}", path=f"p{first}", sha256="d", bytes=1, first=first, count=count)
    return entry(n, events.ObservationsStored(source="s", file=file))


def received(n: int, number: int, size: int, age: float = 0) -> Entry:
    event = events.ObservationReceived(
        source="s", observation_id=f"o{number}", batch_id="b1", number=number, observation_kind="text", bytes=size,
        captured_at=ids.stamp(NOW),
    )  # fmt: skip
    return entry(n, event, NOW - age)


def played(sizes: list[int], ages: list[float] | None = None) -> tuple[Source, list[Observation]]:
    """Return a source, and its observations, after they came."""
    table, found = dict[str, Source](), dict[str, Observation]()
    given = zip(sizes, ages or [0.0] * len(sizes), strict=True)
    entries = [received(at + 2, at + 1, size, age) for at, (size, age) in enumerate(given)]
    for one in [stored(1, 1, len(sizes)), *entries]:
        sources.fold(table, one)
        if isinstance(one.event, events.ObservationReceived):
            observations.fold(found, one)
    return table["s"], list(found.values())


@pytest.mark.parametrize(
    ("limits", "upto", "reason"),
    [
        ({}, None, None),
        ({"count": 3}, None, None),
        ({"count": 2}, 1, "count"),
        ({"count": 0}, 3, "count"),
        ({"bytes": 60}, None, None),
        ({"bytes": 50}, 1, "bytes"),
        ({"bytes": "30B"}, 2, "bytes"),
        ({"age": "30s"}, 2, "age"),
        ({"age": "1h"}, None, None),
        ({"age": "30s", "count": 0}, 3, "count"),
    ],
)
def test_retention_purges_the_oldest_beyond_any_limit(
    limits: dict[str, Any], upto: int | None, reason: str | None
) -> None:
    source, found = played([10, 20, 30], [60, 40, 20])
    due = retention.due(SourceRetention(**limits), source, found, NOW)
    assert (due and (due.upto, due.reason)) == (upto and (upto, reason))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(0, 40), st.integers(0, 600))
def test_a_purge_leaves_just_what_the_limits_allow(sizes: list[int], count: int, size: int) -> None:
    source, found = played(sizes)
    limits = SourceRetention(count=count, bytes=size)
    due = retention.due(limits, source, found, NOW)
    table = {"s": source}
    if due is not None:
        purged = events.ObservationsPurged(
            source="s", upto=due.upto, count=due.count, bytes=due.bytes, reason=due.reason
        )
        sources.fold(table, entry(99, purged))
    after = table["s"]
    kept = sizes[after.purged :]
    assert (after.retained, after.bytes) == (len(kept), sum(kept))
    assert len(kept) <= count and sum(kept) <= size and not retention.is_exceeded(limits, after)
    if after.purged:  # one more would be too much
        more = sizes[after.purged - 1 :]
        assert len(more) > count or sum(more) > size


def test_the_state_of_a_source_is_read_back_from_its_document() -> None:
    source, _ = played([10, 20])
    rest = ObservationFile(batch_id="b1", path="p2", sha256="d", bytes=1, first=2, count=1)
    table = {"s": source}
    sources.fold(
        table, entry(9, events.ObservationsPurged(source="s", upto=1, count=1, bytes=10, reason="age", rest=rest))
    )
    assert sources.read(encoding.plain(table["s"])) == table["s"] and table["s"].rest == rest


@pytest.mark.parametrize(
    "wrong",
    [{"kinds": []}, {"kinds": ["log", "log"]}, {"kinds": ["film"]}, {"rate": "fast"}, {"rate": "0/m"},
     {"purge": "burn"}, {"retention": {"age": "soon"}}, {"retention": {"bytes": "many"}}, {"retention": {"count": -1}},
     {"colour": "red"}, {"sensitivity": "Very high"}, {"expect_every": "often"}],
)  # fmt: skip
def test_a_wrong_file_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SourceFile(**wrong)


@pytest.mark.parametrize(("rate", "limit"), [("600/m", (600, 60.0)), ("5 / hour", (5, 3600.0)), (None, None)])
def test_a_rate_is_a_number_in_a_period(rate: str | None, limit: tuple[int, float] | None) -> None:
    assert SourceFile(rate=rate).limit == limit


def test_raw_content_reaches_a_model_by_kind_unless_the_file_says_otherwise() -> None:
    shown = {kind: SourceFile().shows_raw(kind) for kind in ("text", "log", "json", "html", "image", "audio")}
    assert shown == {"text": True, "log": True, "json": True, "html": False, "image": False, "audio": False}
    assert SourceFile(raw_to_model=True).shows_raw("image") and not SourceFile(raw_to_model=False).shows_raw("text")


@pytest.mark.parametrize(
    "given",
    [{}, {"source": "s"}, {"ids": []}, {"ids": ["a"], "latest": 1}, {"latest": 1}, {"source": "s", "latest": 0},
     {"source": "s", "latest": 501}, {"source": "s", "since": "yesterday"}, {"source": "s", "since": "2026-11-29"},
     {"source": "S S", "latest": 1}],
)  # fmt: skip
def test_a_selection_that_names_nothing_definite_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Selection(**given)


def test_times_are_normal_whatever_their_offset() -> None:
    assert utc("2026-11-29T12:00:00+01:00") == utc("2026-11-29T11:00:00Z") == "2026-11-29T11:00:00.000000Z"


def test_an_observation_from_a_clock_that_is_ahead_is_selected_by_its_receipt() -> None:
    _, [one] = played([1])
    ahead = changed(one, captured_at="9999-12-31T00:00:00.000000Z")
    assert observations.moment_of(ahead) == one.received_at
    late = changed(one, captured_at="2026-01-01T00:00:00.000000Z")
    assert observations.moment_of(late) == late.captured_at
