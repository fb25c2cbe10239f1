"""The public format of hooks: tools and arguments in the spelling that hook scripts know, in both directions."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from typing import Any

from kheish.domain import public_names
from kheish.domain.hooks.moments import MOMENTS

#: characters of a string that a hook gets or gives
MOST = 10_000
_FILES = frozenset({"read_file", "write_file", "edit_file", "list_files", "store_asset"})
_COMMANDS = frozenset({"bash", "shell_task_start"})
_OUTPUTS: Mapping[str, str] = {"lines": "content", "files": "files_with_matches", "counts": "count"}
#: arguments with another name there: ours to theirs
_RENAMED: Mapping[str, Mapping[str, str]] = {
    "apply_patch": {"patch": "command"},
    "spawn_agent": {"name": "description", "agent": "subagent_type"},
    "todo_write": {"items": "todos"},
    "use_skill": {"name": "skill", "arguments": "args"},
    "grep_search": {"output": "output_mode", "ignore_case": "-i", "context": "-C"},
    **{tool: {"path": "file_path"} for tool in ("read_file", "write_file", "edit_file", "store_asset")},
}


def tool_input(tool: str, arguments: Mapping[str, Any], workspace: str) -> dict[str, Any]:
    """Return the arguments of a call in the public spelling; paths of files are absolute."""
    renamed = _RENAMED.get(tool, {})
    given = {renamed.get(name, name): value for name, value in arguments.items()}
    if tool in _COMMANDS:
        if isinstance(given.get("timeout"), int | float):
            given["timeout"] = int(given["timeout"] * 1000)
        given["run_in_background"] = tool == "shell_task_start"
    elif tool in _FILES:
        for name in ("file_path", "path"):
            if isinstance(given.get(name), str):
                given[name] = _absolute(given[name], workspace)
    elif tool == "grep_search" and given.get("output_mode") in _OUTPUTS:
        given["output_mode"] = _OUTPUTS[given["output_mode"]]
    elif tool == "todo_write" and isinstance(given.get("todos"), list | tuple):
        given["todos"] = [_todo(one) for one in given["todos"]]
    elif tool == "ask_user_question" and isinstance(given.get("questions"), list | tuple):
        given["questions"] = [_question(one) for one in given["questions"]]
    return given


def arguments(tool: str, given: Mapping[str, Any], before: Mapping[str, Any], workspace: str) -> dict[str, Any]:
    """Return the arguments of a call that a hook has rewritten; `before` are those that it got."""
    renamed = {theirs: ours for ours, theirs in _RENAMED.get(tool, {}).items()}
    found = {renamed.get(name, name): value for name, value in given.items()}
    if tool in _COMMANDS:
        found.pop("run_in_background", None)
        if isinstance(found.get("timeout"), int | float) and not isinstance(found["timeout"], bool):
            found["timeout"] = found["timeout"] / 1000
    elif tool in _FILES and isinstance(found.get("path"), str):
        was = before.get("path")
        same = isinstance(was, str) and found["path"] == _absolute(was, workspace)
        found["path"] = was if same else _relative(found["path"], workspace)
    elif tool == "grep_search" and found.get("output") in _OUTPUTS.values():
        found["output"] = next(ours for ours, theirs in _OUTPUTS.items() if theirs == found["output"])
    elif tool == "todo_write" and isinstance(found.get("items"), list):
        found["items"] = [
            {name: value for name, value in one.items() if name != "activeForm"} if isinstance(one, dict) else one
            for one in found["items"]
        ]
    elif tool == "ask_user_question" and "questions" in before:
        found["questions"] = before["questions"]  # its options have ids here, which the public form lacks
    return found


def _absolute(path: str, workspace: str) -> str:
    return path if path.startswith(("/", "skill:", "asset:")) else os.path.normpath(f"{workspace}/{path}")


def _relative(path: str, workspace: str) -> str:
    plain = os.path.normpath(path) if path.startswith("/") else path
    base = workspace.rstrip("/")
    return plain[len(base) + 1 :] if plain.startswith(f"{base}/") else plain


def _todo(one: Any) -> Any:
    return {**one, "activeForm": one.get("content", "")} if isinstance(one, Mapping) else one


def _question(one: Any) -> Any:
    if not isinstance(one, Mapping):
        return one
    return {"question": one.get("text"), "header": one.get("header"), "options": one.get("options"),
            "multiSelect": bool(one.get("multi_select"))}  # fmt: skip


def tool_response(tool: str, content: str, detail: Mapping[str, Any], call: Mapping[str, Any], workspace: str) -> Any:
    """Return the result of a call in the public form."""
    text = content[:MOST]
    if tool in _COMMANDS:
        return {"stdout": text, "stderr": "", "interrupted": bool(detail.get("timed_out")), "isImage": False}
    if tool in ("write_file", "edit_file", "read_file"):
        path = call.get("path")
        shown = _absolute(path, workspace) if isinstance(path, str) else path
        return {"filePath": shown, "success": True, "content": text}
    return {"content": text}


def document(
    moment: str,
    *,
    session_id: str | None,
    transcript_path: str,
    cwd: str,
    permission_mode: str,
    model: str | None,
    agent_id: str | None = None,
    agent_type: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return the input of a hook. The order of keys is part of the format."""
    given: dict[str, Any] = {
        "session_id": session_id,
        "transcript_path": transcript_path,
        "cwd": cwd,
        "permission_mode": _MODES.get(permission_mode, permission_mode),
        "hook_event_name": MOMENTS[moment].shown,
        "model": model,
    }
    if agent_id is not None:
        given |= {"agent_id": agent_id, "agent_type": agent_type or "agent"}
    return {**given, **fields}


_MODES: Mapping[str, str] = {"accept_edits": "acceptEdits", "bypass": "bypassPermissions", "dont_ask": "dontAsk"}


def shown_tool(tool: str) -> str:
    """Return the public name of a tool."""
    return public_names.shown(tool)
