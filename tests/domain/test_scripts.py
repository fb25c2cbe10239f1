"""Scripts of scripted routes are checked before any run uses them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kheish.domain.scripts import Script


def test_the_script_of_the_specification_is_accepted() -> None:
    script = Script.model_validate(
        {
            "turns": [
                {"text": "Looking.", "tool_calls": [{"name": "read_file", "arguments": {"path": "tests/test_app.py"}}]},
                {"expect": "AssertionError", "tool_calls": [{"name": "bash"}], "delay": "50ms", "chunks": 5},
                {"error": {"status": 429, "retry_after": 1}},
                {"text": "Fixed: {{last_result}}", "usage": {"input_tokens": 900, "output_tokens": 40}},
            ]
        }
    )
    assert script.after_last == "repeat"
    assert script.turns[2].error is not None
    assert script.turns[2].error.retry_after == 1


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ({}, "exactly one of turns"),
        ({"echo": True, "turns": [{"text": "x"}]}, "exactly one of turns"),
        ({"turns": [{}]}, "needs text, tool_calls or error"),
        ({"turns": [{"text": "x", "error": {"status": 429}}]}, "not both"),
        ({"turns": [{"text": "x", "expect": "("}]}, "not a regular expression"),
        ({"turns": [{"text": "x", "delay": "soon"}]}, "not a duration"),
        ({"turns": [{"text": "x", "chunk": 2}]}, "Extra inputs"),
        ({"turns": [{"error": {"status": 200}}]}, "greater than or equal to 400"),
        ({"turns": [{"text": "x"}], "after_last": "loop"}, "'repeat' or 'fail'"),
    ],
)
def test_a_wrong_script_is_refused_with_its_reason(script: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Script.model_validate(script)
