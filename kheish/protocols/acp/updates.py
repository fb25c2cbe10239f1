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

    def of(self, event: Event, *, replays: bool = False) -> list[Any]:
        """Return the updates of an event. `replays`: the editor has no words of the user yet."""
        data = event.data
        match event.kind:
            case "run.submitted" if replays:
                texts = [item["text"] for item in data["request"]["items"] if item.get("text") is not None]
                return [helpers.update_user_message_text(_whole(text)) for text in texts]
            case "model.responded":
                return [*self._words(event), *(self._begun(event, one) for one in _calls(data))]
            case "model.delta":
                return self._words(event)
            case "tool.started":
                return [helpers.update_tool_call(call(event, data["call_id"]), status="in_progress")]
            case "tool.finished":
                content = [helpers.tool_content(helpers.text_block(visible(_whole(data["content"])[:_RESULT])))]
                status: Any = "failed" if data["is_error"] else "completed"
                return [helpers.update_tool_call(call(event, data["call_id"]), status=status, content=content)]
            case "run.failed":
                text = f"\n\nThe run failed: {data['error']['message']} ({data['error']['code']})"
                return [helpers.update_agent_message_text(text)]
            case "run.mode_changed":
                return [CurrentModeUpdate(current_mode_id=data["mode"], session_update="current_mode_update")]
        return []

    def _words(self, event: Event) -> list[Any]:
        text = self._speech.setdefault(event.run or "", Speech()).hear(event)
        return [helpers.update_agent_message_text(text)] if text else []

    def is_unread(self, run: str) -> bool:
        """Return whether the run's newest answer was too long for its event."""
        return run in self._speech and self._speech[run].is_unread

    def finish(self, run: str, output: str | None) -> list[Any]:
        """Return the rest of the run's final text, if no event had it."""
        text = self._speech[run].finish(output) if run in self._speech else ""
        return [helpers.update_agent_message_text(text)] if text else []

    def _begun(self, event: Event, asked: Mapping[str, Any]) -> Any:
        name, given = asked["name"], asked["arguments"]
        return helpers.start_tool_call(
            call(event, asked["id"]), title(name, given), kind=_KINDS.get(name, "other"), status="pending",
            raw_input=given,
        )  # fmt: skip


def call(event: Event, id: str) -> str:
    """Return the id of a call, which is unique in its session."""
    return f"{event.run}-{id}"


def title(tool: str, arguments: Any) -> str:
    """Return a call in one line."""
    given = arguments if isinstance(arguments, Mapping) else {}
    about = next((str(given[name]) for name in ("command", "path", "file_path", "pattern", "url") if name in given), "")
    line = one_line(f"{tool}: {about}" if about else tool)
    return line if len(line) <= _TITLE else line[:_TITLE] + "…"


def _whole(text: Any) -> str:
    """Return a text of a journal line, or the beginning of one that was too long for it."""
    return text if isinstance(text, str) else f"{text['preview']}…"


def _calls(data: Mapping[str, Any]) -> list[Any]:
    calls = data.get("calls")
    return [one for one in calls if isinstance(one, Mapping)] if isinstance(calls, list) else []
