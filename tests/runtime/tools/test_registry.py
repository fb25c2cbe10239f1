"""All tools are there, well described, and tell the model what it got wrong."""

from __future__ import annotations

import jsonschema
import pytest

from kheish.runtime.tools import registry
from kheish.runtime.tools.arguments import parse_arguments, unknown_tool
from kheish.runtime.tools.base import Effect, Replay, ToolError
from kheish.runtime.tools.files import READ_FILE
from kheish.runtime.tools.shell import SandboxSettings

TOOLS = registry.builtin(lambda: SandboxSettings(mode="off", available=False))


def test_the_built_in_tools_and_their_classes() -> None:
    assert {name: (tool.effect, tool.replay) for name, tool in TOOLS.items()} == {
        "read_file": (Effect.READ, Replay.SAFE),
        "list_files": (Effect.READ, Replay.SAFE),
        "glob_search": (Effect.READ, Replay.SAFE),
        "grep_search": (Effect.READ, Replay.SAFE),
        "write_file": (Effect.WRITE, Replay.SAFE),
        "edit_file": (Effect.WRITE, Replay.BY_DIGEST),
        "apply_patch": (Effect.WRITE, Replay.BY_DIGEST),
        "enter_plan_mode": (Effect.COORDINATION, Replay.SAFE),
        "exit_plan_mode": (Effect.COORDINATION, Replay.SAFE),
        "spawn_agent": (Effect.COORDINATION, Replay.SAFE),
        "wait_agent": (Effect.COORDINATION, Replay.SAFE),
        "get_agent": (Effect.READ, Replay.SAFE),
        "list_agents": (Effect.READ, Replay.SAFE),
        "close_agent": (Effect.COORDINATION, Replay.SAFE),
        "request_parent_clarification": (Effect.COORDINATION, Replay.SAFE),
        "message_agent": (Effect.COORDINATION, Replay.SAFE),
        "task_create": (Effect.COORDINATION, Replay.SAFE),
        "task_get": (Effect.READ, Replay.SAFE),
        "task_list": (Effect.READ, Replay.SAFE),
        "task_update": (Effect.COORDINATION, Replay.SAFE),
        "get_goal": (Effect.READ, Replay.SAFE),
        "create_goal": (Effect.COORDINATION, Replay.SAFE),
        "update_goal": (Effect.COORDINATION, Replay.SAFE),
        "post_to_channel": (Effect.COORDINATION, Replay.SAFE),
        "react": (Effect.COORDINATION, Replay.SAFE),
        "read_channel_thread": (Effect.READ, Replay.SAFE),
        "propose": (Effect.COORDINATION, Replay.SAFE),
        "project_list_tasks": (Effect.COORDINATION, Replay.SAFE),
        "project_claim_task": (Effect.COORDINATION, Replay.SAFE),
        "project_create_task": (Effect.COORDINATION, Replay.SAFE),
        "project_update_task": (Effect.COORDINATION, Replay.SAFE),
        "list_skills": (Effect.READ, Replay.SAFE),
        "use_skill": (Effect.READ, Replay.SAFE),
        "bash": (Effect.EFFECT, Replay.UNSAFE),
        "shell_task_start": (Effect.EFFECT, Replay.UNSAFE),
        "task_output": (Effect.READ, Replay.SAFE),
        "task_stop": (Effect.EFFECT, Replay.SAFE),
        "ask_user_question": (Effect.COORDINATION, Replay.SAFE),
        "emit_output": (Effect.COORDINATION, Replay.SAFE),
        "todo_write": (Effect.COORDINATION, Replay.SAFE),
        "memory": (Effect.COORDINATION, Replay.BY_DIGEST),
        "memory_search": (Effect.READ, Replay.SAFE),
        "schedule_create": (Effect.COORDINATION, Replay.SAFE),
        "schedule_update": (Effect.COORDINATION, Replay.SAFE),
        "schedule_cancel": (Effect.COORDINATION, Replay.SAFE),
        "schedule_list": (Effect.COORDINATION, Replay.SAFE),
        "wake_after": (Effect.COORDINATION, Replay.SAFE),
        "wake_at": (Effect.COORDINATION, Replay.SAFE),
        "web_fetch": (Effect.EFFECT, Replay.UNSAFE),
        "attach_evidence": (Effect.COORDINATION, Replay.SAFE),
        "store_asset": (Effect.COORDINATION, Replay.SAFE),
    }
    for tool in TOOLS.values():
        jsonschema.Draft202012Validator.check_schema(tool.schema)
        assert tool.schema["additionalProperties"] is False


def test_every_mistake_in_the_arguments_is_told() -> None:
    with pytest.raises(ToolError) as told:
        parse_arguments(READ_FILE, {"pth": "x", "offset": 0, "limit": "many"})
    assert str(told.value).splitlines()[1:] == [
        "- path: is missing",
        "- offset: must be 1 at least",
        "- limit: input should be a valid integer, unable to parse string as an integer",
        "- pth: there is no such argument; did you mean path?",
    ]
    with pytest.raises(ToolError, match="must be a JSON object, not list"):
        parse_arguments(READ_FILE, [])
    assert parse_arguments(READ_FILE, {"path": "x", "limit": "5"}).limit == 5


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("bash", {"command": "sleep 1", "timeout": 601}),
        ("bash", {"command": "a\0b"}),
        ("edit_file", {"path": "x", "old_string": "", "new_string": "y"}),
        ("write_file", {"path": "x", "content": "y", "expected_sha256": "abc"}),
        ("todo_write", {"items": [{"content": "x", "status": "maybe"}]}),
    ],
)
def test_arguments_out_of_bounds_are_refused(name: str, raw: dict[str, object]) -> None:
    with pytest.raises(ToolError, match="nothing was done"):
        parse_arguments(TOOLS[name], raw)


def test_an_unknown_tool_is_answered_with_the_nearest() -> None:
    assert unknown_tool("readfile", TOOLS).startswith("There is no tool 'readfile'. Did you mean read_file")
    assert unknown_tool("xyz", ["b", "a"]) == "There is no tool 'xyz'. The tools are: a, b."
