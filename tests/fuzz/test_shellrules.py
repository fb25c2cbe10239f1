"""Of random command lines, only what rules allow runs; many more lines with `make shell-fuzz`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from kheish.jobs import plainrun
from tests.fuzz import shelllines, shellrules
from tests.fuzz.shellharness import Harness


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    with Harness(shelllines.PROGRAMS) as started:
        yield started


@pytest.mark.found("S2")
def test_that_only_what_rules_allow_runs(harness: Harness) -> None:
    counts: Counter[str] = Counter()

    failures = list(shellrules.fuzz(seed=5, lines=500, seconds=60, harness=harness, counts=counts))

    assert failures == []
    assert min(counts["allowed"], counts["commands run"]) > 10 and counts["compared"], counts


@pytest.mark.parametrize(
    "added", ["; touch pwned", "; nothing-known", "; echo > pwned", "; echo > docs/l", "; sleep 60"]
)
def test_that_more_than_was_judged_is_found_out(harness: Harness, added: str, monkeypatch: Any) -> None:
    real = plainrun.argv

    def more(plain: Any, **options: Any) -> tuple[str, ...]:
        *start, script, shell, interpreter, opener, root = real(plain, **options)
        return *start, script + added, shell, interpreter, opener, root

    monkeypatch.setattr(plainrun, "argv", more)
    found = shellrules.fuzz(seed=5, lines=200, seconds=60, harness=harness, counts=Counter())

    assert next(found, None) is not None
