"""The events of hooks: their names in both spellings, and what can be decided at each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An event of hooks. `blocks`: exit status 2 refuses what happens. `in_run`: a run waits for its hooks, so that
    they can decide; the others run afterwards. `subject` is the field that a matcher is compared with.
    `takes_text`: plain output is context for the model."""

    name: str
    shown: str
    blocks: bool = False
    in_run: bool = True
    subject: str | None = None
    takes_text: bool = False


MOMENTS: Mapping[str, Moment] = {
    moment.name: moment
    for moment in (
        Moment(name="session_start", shown="SessionStart", subject="source", takes_text=True),
        Moment(name="session_end", shown="SessionEnd", in_run=False, subject="reason"),
        Moment(name="user_prompt_submit", shown="UserPromptSubmit", blocks=True, takes_text=True),
        Moment(name="pre_tool_use", shown="PreToolUse", blocks=True, subject="tool_name"),
        Moment(name="post_tool_use", shown="PostToolUse", subject="tool_name"),
        Moment(name="post_tool_use_failure", shown="PostToolUseFailure", subject="tool_name"),
        Moment(name="post_tool_batch", shown="PostToolBatch", blocks=True),
        Moment(name="permission_request", shown="PermissionRequest", subject="tool_name"),
        Moment(name="permission_denied", shown="PermissionDenied", subject="tool_name"),
        Moment(name="stop", shown="Stop", blocks=True),
        Moment(name="stop_failure", shown="StopFailure", in_run=False, subject="error"),
        Moment(name="subagent_start", shown="SubagentStart", subject="agent_type", takes_text=True),
        Moment(name="subagent_stop", shown="SubagentStop", blocks=True, subject="agent_type"),
        Moment(name="task_created", shown="TaskCreated", blocks=True),
        Moment(name="task_completed", shown="TaskCompleted", blocks=True),
        Moment(name="pre_compact", shown="PreCompact", blocks=True, subject="trigger"),
        Moment(name="post_compact", shown="PostCompact", subject="trigger"),
        Moment(name="elicitation", shown="Elicitation", blocks=True, in_run=False, subject="mcp_server_name"),
        Moment(name="elicitation_result", shown="ElicitationResult", in_run=False, subject="mcp_server_name"),
        Moment(name="notification", shown="Notification", in_run=False, subject="notification_type"),
        Moment(name="definition_changed", shown="definition_changed", in_run=False, subject="path"),
        Moment(name="approval_requested", shown="approval_requested", in_run=False, subject="tool_name"),
        Moment(name="question_asked", shown="question_asked", in_run=False),
        Moment(name="run_finished", shown="run_finished", in_run=False, subject="status"),
        Moment(name="flow_finished", shown="flow_finished", in_run=False, subject="status"),
    )
}
#: names by both spellings
NAMES: Mapping[str, str] = {
    **{moment.shown: name for name, moment in MOMENTS.items()},
    **{name: name for name in MOMENTS},
}
