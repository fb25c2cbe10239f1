"""Completion requirements as callers write them: every form, every mistake by its path."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import completion
from kheish.domain.events import Requirement, ToolFinished

SCHEMA = {"type": "object", "required": ["cause"]}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("the cause is named", Requirement(text="the cause is named")),
        ({"workspace_file": "out/report.md"}, Requirement(workspace_file="out/report.md")),
        ({"workspace_file": {"path": "a"}}, Requirement(workspace_file="a")),
        ({"command": "make test"}, Requirement(command="make test")),
        ({"command": {"run": "grep -q x f", "exit": 1, "timeout": "1m"}},
         Requirement(command="grep -q x f", exit=1, timeout=60.0)),
        ({"output_matches": SCHEMA}, Requirement(output_matches=SCHEMA)),
        ({"output_matches": {"schema": SCHEMA}}, Requirement(output_matches=SCHEMA)),
    ],
)  # fmt: skip
def test_each_form_is_read_and_written_back(written: Any, meant: Requirement) -> None:
    found, faults = completion.read([written])
    assert (found, faults) == ((meant,), [])
    again, _ = completion.read([completion.written(meant)])
    assert again == (meant,)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("  ", ""),
        ("x" * 5000, ""),
        (7, ""),
        ({}, ""),
        ({"comand": "make"}, ""),
        ({"command": "make", "workspace_file": "a"}, ""),
        ({"command": ""}, "/command"),
        ({"command": {"run": "make", "exit": 256}}, "/command/exit"),
        ({"command": {"run": "make", "exit": True}}, "/command/exit"),
        ({"command": {"run": "make", "timeout": "2h"}}, "/command/timeout"),
        ({"command": {"run": "make", "timeout": "soon"}}, "/command/timeout"),
        ({"command": {"run": "make", "cwd": "/"}}, "/command/cwd"),
        ({"workspace_file": "/etc/passwd"}, "/workspace_file"),
        ({"workspace_file": "a/../../b"}, "/workspace_file"),
        ({"workspace_file": "."}, "/workspace_file"),
        ({"output_matches": {"type": "nonsense"}}, "/output_matches/type"),
        ({"output_matches": "yes"}, "/output_matches"),
    ],
)
def test_each_mistake_is_told_by_its_path(written: Any, path: str) -> None:
    found, faults = completion.read(["fine", written], "/phases/0/acceptance")
    assert found[0] == Requirement(text="fine")
    assert len(found) == 1 or not faults
    faults = faults or list(completion.schema_faults(["fine", written], "/phases/0/acceptance"))
    assert [fault.path for fault in faults] == [f"/phases/0/acceptance/1{path}"]


def test_too_many_are_refused() -> None:
    assert completion.read(["x"] * 51)[1][0].path == "/completion"


@pytest.mark.parametrize(
    ("detail", "is_error", "code", "met"),
    [
        ({"exit_status": 0}, False, None, True),
        ({"exit_status": 2}, True, "tool_error", False),
        ({"exit_status": None, "timed_out": True}, True, "tool_error", False),
        ({"settled_by": "token:ann"}, False, None, True),
        ({}, True, "permission_denied", False),
        ({}, True, "approval_denied", False),
    ],
)
def test_what_the_result_of_a_check_says(detail: Any, is_error: bool, code: str | None, met: bool) -> None:
    outcome = ToolFinished(call_id="check:1:1", tool="bash", is_error=is_error, content="!", detail=detail, code=code)
    finding = completion.judged(1, Requirement(command="make"), outcome)
    assert finding.met is met
    assert finding.is_final is (code == "permission_denied"), "a rule will say the same again; a person may not"


def test_another_exit_status_may_be_what_is_wanted() -> None:
    outcome = ToolFinished(call_id="check:1:1", tool="bash", is_error=True, content="", detail={"exit_status": 1})
    assert completion.judged(1, Requirement(command="grep -q bug f", exit=1), outcome).met
