"""Matchers and conditions of hooks, and their files."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from kheish.domain import public_names
from kheish.domain.hooks import matching
from kheish.domain.hooks.definition import HookFile


def hook(**fields: Any) -> HookFile:
    return HookFile.model_validate({"events": ["PreToolUse"], "command": "true", **fields})


@pytest.mark.parametrize(
    ("matcher", "tool", "fits"),
    [
        ("", "bash", True),
        ("*", "bash", True),
        ("Bash", "bash", True),
        ("Bash", "shell_task_start", True),
        ("bash", "bash", True),
        ("Bas", "bash", False),
        ("Edit|Write", "apply_patch", True),
        ("Edit | Write", "write_file", True),
        ("Edit, Write", "edit_file", True),
        ("Edit|Write", "read_file", False),
        ("Task", "spawn_agent", True),
        ("mcp__.*", "mcp__notes__add", True),
        ("mcp__.*__add", "mcp__notes__add", True),
        ("^Notebook", "bash", False),
        ("Ed.t", "edit_file", True),
        (".*", "bash", True),
    ],
)
def test_matchers(matcher: str, tool: str, fits: bool) -> None:
    assert matching.matches(matcher, public_names.names_of(tool)) is fits


@pytest.mark.parametrize("matcher", ["(a+)+$", "(x|x)*y", "a*b*c*d", "(?=a)b", "[a|b]*"])
def test_expressions_that_may_take_long_are_left_to_a_child(matcher: str) -> None:
    re.compile(matcher)
    assert not matching.decides_alone(matcher)


@pytest.mark.parametrize("matcher", ["*", "", "Bash|Edit", "mcp__.*", "mcp__.*__write.*", "^Edit$", "Bash|mcp__.*"])
def test_usual_matchers_take_few_steps(matcher: str) -> None:
    assert matching.decides_alone(matcher)


@pytest.mark.parametrize(
    ("condition", "tool", "arguments", "holds"),
    [
        ("Bash(git *)", "bash", {"command": "git push"}, True),
        ("Bash(git:*)", "bash", {"command": "git push"}, True),
        ("Bash(git *)", "bash", {"command": "ls && git push"}, True),
        ("Bash(git *)", "bash", {"command": "ls"}, False),
        ("Bash(*)", "bash", {"command": "ls"}, True),
        ("Edit(src/**)", "edit_file", {"path": "src/a.py"}, True),
        ("Edit(./src/**)", "edit_file", {"path": "docs/a.md"}, False),
        ("WebFetch(domain:example.com)", "web_fetch", {"url": "https://example.com/x"}, True),
        ("Read", "bash", {"command": "ls"}, False),
        ({"tool": "bash", "match": "git *"}, "bash", {"command": "git log"}, True),
    ],
)
def test_conditions(condition: Any, tool: str, arguments: dict[str, Any], holds: bool) -> None:
    found = matching.condition_of(hook(**{"if": condition}))
    assert found is not None
    assert matching.holds(found, tool, tool, "effect", arguments, "/w") is holds


def test_a_file_may_spell_events_both_ways() -> None:
    assert hook(events=["PreToolUse", "post_tool_use", "run_finished"]).events == (
        "pre_tool_use", "post_tool_use", "run_finished",
    )  # fmt: skip
    assert hook(events="Stop").events == ("stop",)


@pytest.mark.parametrize(
    "fields",
    [
        {"events": ["PreTool"]},
        {"events": []},
        {"command": None},
        {"http": "https://a.example"},
        {"command": None, "prompt": "x", "events": ["SessionEnd"]},
        {"events": ["Stop"], "if": "Bash(git *)"},
        {"matcher": "("},
        {"command": None, "http": {"url": "ftp://a"}},
        {"command": None, "http": {"url": "https://u:p@a.example"}},
        {"command": None, "http": "https://a.example", "env": {"A": "1"}},
        {"timeout": "0s"},
        {"retries": 11},
        {"unknown": 1},
        {"command": "a\x00b"},
    ],
)
def test_files_with_faults_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        hook(**fields)


def test_times() -> None:
    assert hook().limit("pre_tool_use") == 600
    assert hook().limit("user_prompt_submit") == 30
    assert hook().limit("session_end") == 1.5
    assert hook(command=None, prompt="ok?").limit("stop") == 30
    assert hook(timeout="5s").limit("session_end") == 5


def test_what_needs_trust() -> None:
    assert hook().commands == ("true  (unconfined)",)
    [inside] = hook(command='"$CLAUDE_PROJECT_DIR"/.claude/check.sh').commands
    assert "which agents can change" in inside
    assert hook(command=None, prompt="ok?").commands == ()
    assert len(hook(command=None, prompt="ok?", may_allow=True).commands) == 1
    assert hook(command=None, http="https://a.example/x").commands[0].startswith("POST https://a.example/x")
