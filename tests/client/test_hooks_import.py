"""Hooks of other programs, as files here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kheish.client.hooks_import import Imported, read, stem_of
from kheish.client.mcp_import import Unreadable


def of(handler: Any, *, event: str = "PreToolUse", matcher: Any = "Bash", **more: Any) -> Imported:
    group = {"hooks": [handler], **({} if matcher is None else {"matcher": matcher})}
    [one] = read(json.dumps({"hooks": {event: [group]}}), stem="claude", **more)
    return one


def test_a_command() -> None:
    found = of({"type": "command", "command": "./x.sh", "timeout": 5, "if": "Bash(git *)"})
    assert found.id == "claude-01-pre-tool-use" and found.refusal is None and found.notes == []
    assert found.file == {
        "events": ["PreToolUse"], "matcher": "Bash", "command": "./x.sh", "timeout": "5s", "if": "Bash(git *)",
    }  # fmt: skip


def test_words_without_a_shell_name_the_plugin_by_its_path() -> None:
    handler = {"type": "command", "command": "${CLAUDE_PLUGIN_ROOT}/x", "args": ["--a", "$CLAUDE_PLUGIN_ROOT/b"]}
    assert of(handler, plugin_root="/p").file["command"] == ["/p/x", "--a", "/p/b"]
    assert "--plugin-root" in str(of(handler).refusal)
    line = of({"command": "${CLAUDE_PLUGIN_ROOT}/x"}, plugin_root="/p").file
    assert (line["command"], line["plugin_root"]) == ("${CLAUDE_PLUGIN_ROOT}/x", "/p")


def test_other_executors() -> None:
    assert of({"type": "prompt", "prompt": "Ok? $ARGUMENTS"}).file["prompt"] == {"text": "Ok? $ARGUMENTS"}
    tool = of({"type": "mcp_tool", "server": "s", "tool": "t", "input": {"a": "${tool_input.file_path}"}}).file
    assert tool["mcp_tool"] == {"server": "s", "tool": "t", "input": {"a": "${tool_input.file_path}"}}
    assert of({"type": "agent", "prompt": "x"}).refusal is not None


def test_headers_with_secrets_become_slots() -> None:
    headers = {"Authorization": "Bearer abc", "X-Key": "$MY_KEY", "X-Plain": "1"}
    found = of({"type": "http", "url": "https://a.example/x", "headers": headers})
    assert found.file["http"]["headers"] == {
        "Authorization": {"slot": "claude-01-pre-tool-use.authorization"}, "X-Key": {"slot": "env:MY_KEY"},
        "X-Plain": "1",
    }  # fmt: skip
    assert found.secrets == {"claude-01-pre-tool-use.authorization": "Bearer abc"}
    partly = of({"type": "http", "url": "https://a.example/x", "headers": {"Authorization": "Bearer $TOKEN"}})
    assert partly.refusal is not None


def test_what_has_no_equal_is_noted() -> None:
    found = of({"type": "command", "command": '"$CLAUDE_PROJECT_DIR"/.claude/x.sh', "async": True, "once": True})
    assert found.file["observe"] is True
    assert [note.partition(";")[0] for note in found.notes] == [
        "it runs a file of the workspace, which agents can change", "it ran in the background (async)",
        "not taken: once",
    ]  # fmt: skip


def test_order_names_and_switched_off_hooks() -> None:
    text = """{
      // comments are usual here
      "disableAllHooks": true,
      "hooks": {"Stop": [{"hooks": [{"command": "a"}, {"command": "b"}]}],
                "PreToolUse": [{"hooks": [{"command": "c"}]}],},
    }"""
    found = read(text, stem="codex")
    assert [(one.id, one.file["command"]) for one in found] == [
        ("codex-01-stop", "a"), ("codex-02-stop", "b"), ("codex-03-pre-tool-use", "c"),
    ]  # fmt: skip
    assert all(one.file["disabled"] for one in found)


@pytest.mark.parametrize("text", ["", "[]", '{"hooks": []}', '{"mcpServers": {}}', "{" * 100_000])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text, stem="x")


@pytest.mark.parametrize("group", ["x", {"matcher": 3, "hooks": [{"command": "a"}]}, {"hooks": ["x"]}, {"hooks": 1}])
def test_odd_handlers_are_refused(group: Any) -> None:
    [one] = read(json.dumps({"hooks": {"Stop": [group]}}), stem="x")
    assert one.refusal is not None


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("/home/a/.claude/settings.json", "claude"),
        ("/p/my-plugin/hooks/hooks.json", "my-plugin"),
        ("/w/.codex/hooks.json", "codex"),
        ("/hooks.json", "imported"),
    ],
)
def test_stems(path: str, stem: str) -> None:
    assert stem_of(path) == stem


@pytest.mark.parametrize("timeout", ["5", 0, -1, True, [], float("nan")])
def test_a_timeout_that_is_none_is_left_out_and_noted(timeout: object) -> None:
    found = of({"command": "x", "timeout": timeout})
    assert "timeout" not in found.file
    assert found.notes == [f"not taken: the timeout {timeout!r}, which is no number of seconds above 0"]


def test_a_timeout_beyond_the_most_is_cut_and_noted() -> None:
    found = of({"command": "x", "timeout": 1e9})
    assert found.file["timeout"] == "86400s" and found.notes == ["its timeout is 86400 s, the most, instead of 1e+09 s"]


def test_fields_of_a_wrong_type_are_left_out_and_noted() -> None:
    found = of({"command": "x", "if": ["Bash"], "args": "a b", "async": "yes"})
    assert found.file == {"events": ["PreToolUse"], "matcher": "Bash", "command": "x"}
    assert found.notes == ["not taken: args, async, if"]
