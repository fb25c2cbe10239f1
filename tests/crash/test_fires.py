"""The rules of schedules find each fault that is planted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash import fires

PLANNED, AT = "2026-12-01T09:00:00.000000Z", "2026-12-01T09:00:01.000000Z"


def entries() -> list[dict[str, Any]]:
    data = {"schedule_id": "a", "planned": PLANNED}
    request = {"metadata": {"fire_id": f"a@{PLANNED}"}}
    return [
        {"n": 1, "at": AT, "kind": "fire.claimed", "data": data},
        {"n": 2, "at": AT, "kind": "fire.dispatched", "data": {**data, "run_id": "run_1"}},
        {"n": 3, "at": AT, "kind": "run.submitted", "data": {"request": request}},
        {"n": 4, "at": AT, "kind": "fire.settled", "data": data},
    ]


def codes(lines: list[dict[str, Any]]) -> set[str]:
    journals = {"journals/schedules/a": lines}
    return {one.code for rule in (fires.once, fires.ended) for one in rule(journals)}


def test_a_good_history_has_no_fault() -> None:
    assert codes(entries()) == set()


@pytest.mark.demand(9)
@pytest.mark.parametrize(
    ("kept", "at", "found"),
    [
        ((0, 0, 1, 2, 3), AT, {"fire_twice"}),
        ((0, 1, 2, 2, 3), AT, {"fire_twice"}),
        ((0, 1, 3), AT, {"fire_lost"}),
        ((0, 1, 2), AT, {"fire_lost"}),
        ((0, 2, 3), AT, {"fire_lost"}),
        ((0, 1, 2, 3), "2026-12-01T08:59:59.000000Z", {"fire_early"}),
    ],
)
def test_a_planted_fault_is_found(kept: tuple[int, ...], at: str, found: set[str]) -> None:
    lines = entries()
    assert codes([{**lines[number], "at": at} for number in kept]) == found
