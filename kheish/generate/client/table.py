"""Public names of the client that cannot be derived from an operation's own name.

An operation without a row gets the derived names; a row lists only the differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The public names of an operation, where they differ from the derived ones."""

    namespace: str | None = None
    """The namespace; empty for the client itself."""
    method: str | None = None
    positional: tuple[str, ...] = ()
    """Optional fields that may be passed by position."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Arguments by field; `{x}` is a path parameter."""
    through: str = ""
    """A function or class of `connection.py` that converts the result."""
    gives: str = ""
    """The type of the converted result, where `through` is a function."""
    presets: str = ""
    """A field of the body whose choices become methods of their own."""
    slow: str = ""
    """Whether it may take as long as a git push: `always`, or the argument that causes it."""


#: namespaces by the noun of the path, where the names differ; "" stands for the client itself
NAMESPACES: Mapping[str, str] = {"auth": "access", "config": "", "instructions": "prompt", "state": ""}
#: arguments by path parameter, where `id` would shadow the Python builtin
PATH_NAMES: Mapping[str, str] = {"id": "name"}
#: hand-written bases of namespaces (`connection.py`)
BASES: Mapping[str, str] = {"flows": "FlowFollowing"}
#: operations without a method: they serve browser forms, and outside senders that sign their requests
PAGES = frozenset({"log_in", "login_page", "receive_ingress", "return_from_login"})
#: one method for several operations whose paths differ in the last segment: the name of the operation and the argument
TOGETHER: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("change_state", "what"): ("put_back_state", "accept_rewind", "pack_state", "reindex_state"),
}
#: shapes by model, where the model's name has another meaning here
SHAPES: Mapping[str, str] = {
    "Run": "RunView",
    "RunFailure": "RunError",
    "RunUsage": "Usage",
    "Flow": "FlowView",
    "Event": "JournalLine",
    "Evidence": "FlowEvidence",
    "GivenEvidence": "Evidence",
    "GivenAnswer": "Answer",
    "SessionChanges": "SessionSettings",
}
#: models of objects with unknown fields: `Json`
OPEN = frozenset({"Free", "Definition", "SkillDetails"})

_TASK: Mapping[str, str] = {"{id}": "project", "{task_id}": "task"}

ROWS: Mapping[str, Row] = {
    "get_asset_content": Row(method="text"),
    "collect_assets": Row(method="gc"),
    "examine_worker": Row(namespace="workers", method="doctor"),
    "rotate_source_token": Row(namespace="sources", method="rotate_token"),
    "revoke_source_token": Row(namespace="sources", method="revoke_token"),
    "create_observations": Row(positional=("items",), renamed={"{id}": "source"}),
    "list_observations": Row(renamed={"{id}": "source"}),
    "get_observation_raw": Row(method="raw"),
    "change_state": Row(method="state", slow="always"),
    "config_text": Row(method="config_text"),
    "put_config": Row(method="put_config"),
    "config_history": Row(method="config_history"),
    "restore_config": Row(method="restore_config"),
    "validate_config": Row(method="validate_config"),
    "pause": Row(positional=("route",)),
    "push_backup": Row(method="backup", slow="always"),
    "test_route": Row(slow="always"),
    "resume": Row(positional=("route",), slow="takeover"),
    "create_session": Row(positional=("session_id",)),
    "change_session": Row(method="patch"),
    "fork_session": Row(positional=("session_id",), renamed={"session_id": "new_id"}),
    "session_diff": Row(positional=("from", "to"), renamed={"from": "since"}),
    "search_session": Row(renamed={"q": "words"}),
    "start_run": Row(positional=("content",), renamed={"{session_id}": "session"}, through="Run"),
    "cancel_run": Row(positional=("reason",)),
    "get_run": Row(through="Run"),
    "retry_run": Row(through="Run"),
    "get_memory_text": Row(method="text"),
    "decide_proposal": Row(method="decide", positional=("reason",)),
    "agent_quotas": Row(method="quotas"),
    "list_worktrees": Row(namespace="agents", method="worktrees"),
    "get_worktree": Row(method="worktree"),
    "change_worktree": Row(method="change_worktree", presets="action"),
    "spawn_agent": Row(method="spawn", renamed={"{agent_id}": "parent"}),
    "explain_spawn": Row(method="explain", renamed={"{agent_id}": "parent"}),
    "get_task": Row(namespace="tasks", method="get", renamed={"{session_id}": "session", "{task_id}": "task"}),
    "create_task": Row(namespace="tasks", method="create", positional=("title",), renamed={"{session_id}": "session"}),
    "change_task": Row(namespace="tasks", method="update", renamed={"{session_id}": "session", "{task_id}": "task"}),
    "stop_task": Row(
        namespace="tasks",
        method="stop",
        positional=("reason",),
        renamed={"{session_id}": "session", "{task_id}": "task"},
    ),
    "task_output": Row(namespace="tasks", method="output", renamed={"{session_id}": "session", "{task_id}": "task"}),
    "get_goal": Row(namespace="goals", method="get", renamed={"{session_id}": "session"}),
    "put_goal": Row(namespace="goals", method="put", renamed={"{session_id}": "session"}),
    "change_goal": Row(namespace="goals", method="update", renamed={"{session_id}": "session"}),
    "clear_goal": Row(namespace="goals", method="clear", renamed={"{session_id}": "session"}),
    "steer_run": Row(positional=("content",)),
    "list_project_tasks": Row(namespace="projects", method="tasks", renamed={"{id}": "project"}),
    "get_project_task": Row(namespace="projects", method="task", renamed=_TASK),
    "create_project_task": Row(
        namespace="projects", method="create_task", positional=("title",), renamed={"{id}": "project"}
    ),
    "change_project_task": Row(namespace="projects", method="update_task", renamed=_TASK),
    "delete_project_task": Row(namespace="projects", method="delete_task", renamed=_TASK),
    "start_project_task": Row(namespace="projects", method="start_task", renamed=_TASK),
    "claim_project_task": Row(namespace="projects", method="claim_task", positional=("holder",), renamed=_TASK),
    "extend_project_task": Row(namespace="projects", method="extend_task", renamed=_TASK),
    "release_project_task": Row(namespace="projects", method="release_task", positional=("reason",), renamed=_TASK),
    "complete_project_task": Row(namespace="projects", method="complete_task", positional=("output",), renamed=_TASK),
    "project_board": Row(namespace="projects", method="board"),
    "list_project_members": Row(namespace="projects", method="members"),
    "list_project_channels": Row(namespace="projects", method="channels"),
    "pause_project": Row(namespace="projects", method="pause", positional=("reason",)),
    "resume_project": Row(namespace="projects", method="resume", positional=("reason",)),
    "archive_project": Row(namespace="projects", method="archive", positional=("reason",)),
    "list_mail": Row(namespace="mailbox", method="list", renamed={"{agent_id}": "agent"}),
    "get_mail": Row(namespace="mailbox", method="get", renamed={"{agent_id}": "agent", "{message_id}": "message"}),
    "post_mail": Row(namespace="mailbox", method="post", positional=("payload",), renamed={"{agent_id}": "agent"}),
    "ack_mail": Row(namespace="mailbox", method="ack", renamed={"{agent_id}": "agent", "{message_id}": "message"}),
    "redeliver_mail": Row(
        namespace="mailbox", method="redeliver", renamed={"{agent_id}": "agent", "{message_id}": "message"}
    ),
    "add_channel_member": Row(method="add_member", renamed={"{id}": "channel"}),
    "post_channel_message": Row(method="post", positional=("text",)),
    "edit_channel_message": Row(method="edit"),
    "remove_channel_message": Row(method="remove"),
    "add_reaction": Row(method="react", positional=("emoji",)),
    "change_channel_thread": Row(method="change_thread"),
    "resolve_approval": Row(presets="decision"),
    "decline_question": Row(positional=("reason",)),
    "check_permission": Row(positional=("arguments",)),
    "make_login_link": Row(namespace="login", method="link", through="login_link", gives="dict[str, str]"),
    "who_am_i": Row(namespace="login", method="who"),
    "log_out": Row(namespace="login", method="out"),
    "put_secret": Row(positional=("description",)),
    "delete_secret": Row(method="remove"),
    "note_revealed_secret": Row(method="revealed"),
    "get_subject": Row(renamed={"{subject}": "id"}),
    "revoke": Row(positional=("reason",)),
    "start_flow": Row(positional=("inputs",)),
    "flow_report": Row(positional=("format",), renamed={"format": "form"}),
    "cancel_flow": Row(positional=("reason",)),
    "attach_evidence": Row(method="attach"),
    "release_version": Row(method="release"),
    "diff_playbook": Row(positional=("from", "to"), renamed={"from": "before", "to": "after"}),
    "blame_playbook": Row(positional=("version",)),
    "list_debug": Row(namespace="runs", method="debug"),
    "get_debug": Row(namespace="runs", method="debug_artifact"),
    "export_stack": Row(method="files"),
    "trust": Row(method="allow"),
    "get_trusted_skill": Row(namespace="trust", method="trusted_skill", renamed={"{id}": "skill"}),
    "get_trusted_server": Row(namespace="trust", method="trusted_server", renamed={"{id}": "server"}),
    "get_trusted_hook": Row(namespace="trust", method="trusted_hook", renamed={"{id}": "hook"}),
    "get_trusted_output": Row(namespace="trust", method="trusted_output", renamed={"{id}": "output"}),
    "get_delivery": Row(method="get"),
    "replay_delivery": Row(method="replay"),
    "replay_deliveries": Row(method="replay_all"),
    "resolve_delivery": Row(method="resolve"),
    "validate_definition": Row(renamed={"id": "name"}),
}
