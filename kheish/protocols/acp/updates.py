"""Events of a session as updates for an editor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acp import helpers
from acp.schema import CurrentModeUpdate

from kheish.client.sse import Event
from kheish.protocols.speech import Speech
from kheish.store.git.textconv import one_line, visible

_KINDS: Mapping[str, Any] = {
    "read_file": "read", "list_files": "read", "glob_search": "search", "grep_search": "search",
    "memory_search": "search", "write_file": "edit", "edit_file": "edit", "apply_patch": "edit", "bash": "execute",
    "shell_task_start": "execute", "web_fetch": "fetch", "web_search": "fetch", "todo_write": "think",
    "enter_plan_mode": "switch_mode", "exit_plan_mode": "switch_mode",
}  # fmt: skip
_TITLE, _RESULT = 120, 20_000


class Updates:
    """The updates of a session's events, each text once."""

    def __init__(self) -> None:
        self._speech: dict[str, Speech] = {}
        self._shown: set[str] = set()

    def of(self, event: Event, *, replays: bool = False) -> list[Any]:
        """Return the updates of an event. `replays`: the editor has no words of the user yet."""
        data = event.data
        match event.kind:
            case "run.submitted" if replays:
                items = data["request"]["items"]
                texts = [str(item.get("text")) for item in items if isinstance(item.get("text"), str)]
                return [helpers.update_user_message_text(text) for text in texts]
            case "model.responded":
                return [*self._words(event), *(self._begun(one) for one in _calls(data) if self._is_new(one["id"]))]
            case "model.delta":
                return self._words(event)
            case "tool.started":
                return [self._update(data["call_id"], status="in_progress")]
            case "tool.finished":
                text = data["content"] if isinstance(data["content"], str) else data["content"]["preview"]
                content = [helpers.tool_content(helpers.text_block(visible(text[:_RESULT])))]
                return [
                    self._update(data["call_id"], status="failed" if data["is_error"] else "completed", content=content)
                ]
            case "run.mode_changed":
                return [CurrentModeUpdate(current_mode_id=data["mode"], session_update="current_mode_update")]
        return []

    def _words(self, event: Event) -> list[Any]:
        text = self._speech.setdefault(event.run or "", Speech()).hear(event)
        return [helpers.update_agent_message_text(text)] if text else []

    def _is_new(self, id: str) -> bool:
        is_new = id not in self._shown
        self._shown.add(id)
        return is_new

    def _begun(self, call: Mapping[str, Any]) -> Any:
        name, given = call["name"], call["arguments"]
        return helpers.start_tool_call(
            call["id"], title(name, given), kind=_KINDS.get(name, "other"), status="pending", raw_input=given
        )

    def _update(self, id: str, **fields: Any) -> Any:
        return helpers.update_tool_call(id, **fields)


def title(tool: str, arguments: Any) -> str:
    """Return a call in one line."""
    given = arguments if isinstance(arguments, Mapping) else {}
    about = next((str(given[name]) for name in ("command", "path", "file_path", "pattern", "url") if name in given), "")
    line = one_line(f"{tool}: {about}" if about else tool)
    return line if len(line) <= _TITLE else line[:_TITLE] + "…"


def _calls(data: Mapping[str, Any]) -> list[Any]:
    calls = data.get("calls")
    return [one for one in calls if isinstance(one, Mapping)] if isinstance(calls, list) else []
