"""The rules of goals find each fault that is planted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash import pursuits


def entries() -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for number in (1, 2):
        run = f"run_{number}"
        lines += [
            {"kind": "run.submitted", "run": run, "data": {"run_kind": "goal_continuation"}},
            {"kind": "goal.continued", "run": None, "data": {"run_id": run, "number": number}},
            {"kind": "run.completed", "run": run, "data": {}},
        ]
    return lines


def test_a_good_history_has_no_fault() -> None:
    assert not list(pursuits.continuations({"s": entries()}))


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        ((0, 1, 2, 3, 5), {"goal_twice"}),
        ((0, 1, 2, 4), {"goal_twice"}),
        ((0, 1, 3, 4, 2, 5), {"goal_twice"}),
        ((3, 4, 5), {"goal_number"}),
        ((0, 1, 2, 0, 1, 2), {"goal_number"}),
    ],
)
def test_a_planted_fault_is_found(kept: tuple[int, ...], found: set[str]) -> None:
    lines = entries()
    assert {one.code for one in pursuits.continuations({"s": [lines[at] for at in kept]})} == found
