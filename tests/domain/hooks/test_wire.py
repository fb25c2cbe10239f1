"""The public form of calls, in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kheish.domain import public_names
from kheish.domain.hooks import wire
from kheish.domain.hooks.definition import HookFile
from kheish.runtime.hooks.asked import Asked

CALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("bash", {"command": "ls", "description": "d", "timeout": 5.5},
     {"command": "ls", "description": "d", "timeout": 5500, "run_in_background": False}),
    ("shell_task_start", {"command": "ls"}, {"command": "ls", "run_in_background": True}),
    ("write_file", {"path": "src/a.py", "content": "x"}, {"file_path": "/w/src/a.py", "content": "x"}),
    ("edit_file", {"path": "a", "old_string": "x", "new_string": "y", "replace_all": True},
     {"file_path": "/w/a", "old_string": "x", "new_string": "y", "replace_all": True}),
    ("read_file", {"path": "a", "offset": 3, "limit": 9}, {"file_path": "/w/a", "offset": 3, "limit": 9}),
    ("read_file", {"path": "asset:sha256:0"}, {"file_path": "asset:sha256:0"}),
    ("store_asset", {"path": ".env", "name": "x"}, {"file_path": "/w/.env", "name": "x"}),
    ("apply_patch", {"patch": "*** Begin Patch"}, {"command": "*** Begin Patch"}),
    ("glob_search", {"pattern": "*.py", "path": "src"}, {"pattern": "*.py", "path": "src"}),
    ("grep_search", {"pattern": "x", "output": "files"}, {"pattern": "x", "output_mode": "files_with_matches"}),
    ("web_fetch", {"url": "https://a.example"}, {"url": "https://a.example"}),
    ("use_skill", {"name": "pdf", "arguments": "x"}, {"skill": "pdf", "args": "x"}),
    ("mcp__notes__add", {"text": "x"}, {"text": "x"}),
    ("exit_plan_mode", {"plan": "p"}, {"plan": "p"}),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "ours", "theirs"), CALLS, ids=[call[0] for call in CALLS])
def test_arguments_go_there_and_come_back(tool: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert wire.tool_input(tool, ours, "/w") == theirs
    assert wire.arguments(tool, theirs, ours, "/w") == ours


def test_another_path_of_the_workspace_becomes_relative_and_others_stay() -> None:
    before = {"path": "a", "content": "x"}
    assert wire.arguments("write_file", {"file_path": "/w/b/c", "content": "x"}, before, "/w")["path"] == "b/c"
    assert (
        wire.arguments("write_file", {"file_path": "/etc/passwd", "content": "x"}, before, "/w")["path"]
        == "/etc/passwd"
    )
    assert wire.arguments("write_file", {"file_path": "/w/../x", "content": "x"}, before, "/w")["path"] == "/x"


def test_questions_are_not_rewritten() -> None:
    before = {"questions": [{"header": "H", "text": "T", "options": [], "multi_select": False}]}
    given = wire.tool_input("ask_user_question", before, "/w")
    assert given["questions"][0]["question"] == "T"
    assert wire.arguments("ask_user_question", {"questions": []}, before, "/w") == before


def test_keys_of_the_input_are_in_order() -> None:
    found = wire.document(
        "pre_tool_use", session_id="s", transcript_path="/t", cwd="/w", permission_mode="accept_edits", model="m",
        agent_id="a", tool_name="Bash", tool_input={}, tool_use_id="c",
    )  # fmt: skip
    assert list(found) == [
        "session_id", "transcript_path", "cwd", "permission_mode", "hook_event_name", "model", "agent_id", "agent_type",
        "tool_name", "tool_input", "tool_use_id",
    ]  # fmt: skip
    assert (found["permission_mode"], found["hook_event_name"]) == ("acceptEdits", "PreToolUse")


def test_names() -> None:
    assert public_names.names_of("apply_patch") == ("apply_patch", "Edit", "Write", "MultiEdit")
    assert public_names.names_of("edit_file") == ("Edit", "edit_file", "MultiEdit")
    assert public_names.names_of("shell_task_start") == ("Bash", "shell_task_start")
    assert public_names.names_of("store_asset") == ("store_asset", "Read")
    assert public_names.names_of("mcp__a__b") == ("mcp__a__b",)
    assert "Task" in public_names.names_of("spawn_agent") and "Agent" not in public_names.names_of("wait_agent")


def test_a_lone_surrogate_is_sent_as_an_escape() -> None:
    asked = Asked(
        id="h",
        file=HookFile.model_validate({"events": ["stop"], "command": "true"}),
        digest="d",
        moment="stop",
        invocation_id="i",
        document={"prompt": "a\ud800ä"},
        session_id=None,
        cwd="/",
    )
    assert asked.encoded() == b'{"prompt": "a\\ud800\xc3\xa4"}'
    assert json.loads(asked.encoded()) == {"prompt": "a\ud800ä"}
