"""Rows of the tables that the tests stand for: each has a test that carries it, and no test carries another."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: what users of such systems ask for
DEMANDS = [str(number) for number in range(1, 31)]
#: faults that were found from outside: work lost, wrong results, the client and its commands, confinement
FOUND = [
    f"{group}{number}" for group, last in {"A": 10, "B": 7, "C": 13, "S": 18}.items() for number in range(1, last + 1)
]
_MARK = re.compile(r"^@pytest\.mark\.(demand|found)\((.+)\)$", re.MULTILINE)


def carried() -> Counter[tuple[str, str]]:
    """Return how many tests carry each row, by the name of its table."""
    texts = (path.read_text() for path in TESTS.rglob("test_*.py"))
    return Counter((table, row.strip('"')) for text in texts for table, row in _MARK.findall(text))


@pytest.mark.parametrize(("table", "rows"), [("demand", DEMANDS), ("found", FOUND)])
def test_each_row_has_a_test_and_each_test_a_row(table: str, rows: list[str]) -> None:
    there = {row for name, row in carried() if name == table}
    assert {"without a test": set(rows) - there, "unknown": there - set(rows)} == {
        "without a test": set(),
        "unknown": set(),
    }
