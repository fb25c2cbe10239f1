"""The rules of requests of connectors find each fault that is planted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash import arrivals


def received(n: int, id: str, run: str, key: str) -> dict[str, Any]:
    return {"n": n, "kind": "ingress.received", "data": {"receipt_id": id, "run_id": run, "keys": [key]}}


def submitted(n: int, id: str, run: str) -> dict[str, Any]:
    request = {"metadata": {"connector": "arrivals", "receipt_id": id}}
    return {"n": n, "kind": "run.submitted", "run": run, "data": {"request": request}}


BOUND = {"n": 9, "kind": "session.bound", "data": {"key": "arrivals:1"}}
GOOD = [received(1, "r1", "a", "k1"), submitted(2, "r1", "a"), received(3, "r2", "b", "k2"), submitted(4, "r2", "b")]


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([*GOOD, BOUND], set()),
        ([*GOOD, received(5, "r3", "c", "k1"), submitted(6, "r3", "c")], {"arrival_twice"}),
        ([*GOOD, submitted(5, "r1", "c")], {"arrival_run"}),
        (GOOD[:3], {"arrival_run"}),
        (GOOD[2:], {"acknowledged"}),
        ([*GOOD, BOUND, BOUND], {"bound_twice"}),
    ],
)
def test_each_fault_is_found(entries: list[dict[str, Any]], found: set[str]) -> None:
    acks = {"receipts": [{"id": "r1", "run": "a", "key": "k1", "n": 2}]}
    assert {one.code for one in arrivals.receipts({"journals/ingress": entries}, acks)} == found
