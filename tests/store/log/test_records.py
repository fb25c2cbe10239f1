from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st

from kheish.errors import Invalid
from kheish.store.log import records

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(
    st.sampled_from("ab:#-\n \t'\"[]{}|>!&*%@,?0.~yn="), max_size=12
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_is_read_back_by_any_reader(data: dict[str, Any]) -> None:
    raw = records.render(data)

    assert records.read(raw) == data
    assert yaml.safe_load(raw) == data  # YAML 1.1, as people's scripts read it


def test_a_record_reads_well() -> None:
    record: dict[str, Any] = {
        "status": "waiting_for_approval",
        "at": "2026-11-22T12:00:00.123456Z",
        "output": "first line\n  second: line\n",
        "answer": "no",
        "items": [{"type": "text", "tags": ["a", "12:30"]}, "b"],
        "error": None,
        "usage": {},
    }
    assert records.render(record).decode() == (
        "status: waiting_for_approval\n"
        "at: 2026-11-22T12:00:00.123456Z\n"
        "output: |\n  first line\n    second: line\n"
        'answer: "no"\n'
        'items:\n  - type: text\n    tags:\n      - a\n      - "12:30"\n  - b\n'
        "error: null\nusage: {}\n"
    )


@pytest.mark.parametrize(
    ("raw", "place"), [(b"a: 1\na: 2\n", "line 2, column 1"), (b"a: [1\n", "line 1"), (b"- a\n", "mapping")]
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(raw: bytes, place: str) -> None:
    with pytest.raises(Invalid, match=place):
        records.read(raw)
