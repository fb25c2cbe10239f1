from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_pending_approval_is_written_as_specified() -> None:
    asked = {
        "approval_id": "appr_01jd",
        "session_id": "fix-it",
        "run_id": "run_01jd",
        "tool": "bash",
        "arguments": {"command": "make deploy"},
        "why": "no rule allows it (mode default)",
        "requested_at": "2026-11-22T12:00:00.123456Z",
    }
    assert records.pending_file("approval", asked).decode() == (
        "approval_id: appr_01jd\nsession_id: fix-it\nrun_id: run_01jd\ntool: bash\n"
        "arguments:\n  command: make deploy\nwhy: no rule allows it (mode default)\n"
        "requested_at: 2026-11-22T12:00:00.123456Z\n"
        '# Write allow or deny after "decision:", and save. `reason` is optional.\n'
        "decision:\nreason:\n"
    )


def test_a_pending_question_ends_with_its_answers_to_fill_in() -> None:
    raw = records.pending_file("question", {"question_id": "q", "questions": [{"id": "q1"}, {"id": "q2"}]})

    assert raw.decode().splitlines()[-3:] == [
        "  q1:                          # an option id, a list of them, or {text: …}",
        "  q2:                          # an option id, a list of them, or {text: …}",
        "decline:                       # or a reason for not answering",
    ]
    assert records.read(raw)["answers"] == {"q1": None, "q2": None}


@pytest.mark.parametrize(
    ("raw", "place"), [(b"a: 1\na: 2\n", "line 2, column 1"), (b"a: [1\n", "line 1"), (b"- a\n", "mapping")]
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(raw: bytes, place: str) -> None:
    with pytest.raises(Invalid, match=place):
        records.read(raw)
