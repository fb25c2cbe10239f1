"""How failpoints are named, drawn and counted."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.crash import failpoints
from tests.crash.failpoints import Kind
from tests.crash.tally import Tally


@pytest.mark.parametrize(
    ("op", "path", "kind"),
    [
        ("fsync", ".git/kheish/wal/0000000000000042.log", ".git/kheish/wal/*.log"),
        ("write", "sessions/2026-11-22.1/s12/journal/000001.jsonl", "sessions/*/*/journal/*.jsonl"),
        ("create", ".git/kheish/tmp/.run_01abc.yaml.31.7.kheish-tmp", ".git/kheish/tmp/.*.yaml.*.kheish-tmp"),
        ("ref", "refs/heads/main refs/kheish/last", "*"),
        ("fsync", ".git/objects/ab/cdef", ".git/objects*"),
    ],
)
def test_calls_that_differ_by_names_only_are_of_one_kind(op: str, path: str, kind: str) -> None:
    assert failpoints.kind_of({"who": "worker", "op": op, "path": path}) == Kind("worker", op, kind)


def test_a_seed_draws_the_same_and_all_kinds_are_drawn() -> None:
    kinds = Counter({Kind("daemon", "write", f"{number}"): number for number in range(1, 30)})

    drawn = [failpoints.draw(random.Random(seed), kinds) for seed in range(1000)]

    assert drawn[7] == failpoints.draw(random.Random(7), kinds)
    assert {one.path for one in drawn} == {kind.path for kind in kinds}
    assert {one.do for one in drawn} == {"kill", "kill-after", "torn", "stop"}
    assert all(1 <= one.nth <= kinds[Kind("daemon", "write", one.path)] for one in drawn)


def test_what_was_counted_is_joined_and_kept(tmp_path: Path) -> None:
    first, second = Tally(rounds=2, ready=[1.0]), Tally(rounds=1, ready=[3.0, 2.0])
    first.kills["failpoint daemon write x torn"] += 2
    second.kills["kill"] += 1
    second.findings["key_twice"] += 1

    first.add(second)
    first.write(tmp_path / "found.json", seed="7")

    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["seed"], found["rounds"], found["kills_in_all"]) == ("7", 3, 3)
    assert (found["doubled"], found["lost"], found["ready_seconds"]["max"]) == (1, 0, 3.0)
    assert "| · at a failpoint in the daemon | 2 |" in first.table()
