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
NAMESPACES: Mapping[str, str] = {"auth": "access", "state": ""}
#: arguments by path parameter, where `id` would shadow the Python builtin
PATH_NAMES: Mapping[str, str] = {"id": "name"}
#: hand-written bases of namespaces (`connection.py`)
BASES: Mapping[str, str] = {"flows": "FlowFollowing"}
#: operations without a method: they serve browser forms
PAGES = frozenset({"/login"})
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
OPEN = frozenset({"Free", "Definition"})

ROWS: Mapping[str, Row] = {
    "change_state": Row(method="state", slow="always"),
    "pause": Row(positional=("route",)),
    "push_backup": Row(method="backup", slow="always"),
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
    "list_mail": Row(namespace="mailbox", method="list", renamed={"{agent_id}": "agent"}),
    "get_mail": Row(namespace="mailbox", method="get", renamed={"{agent_id}": "agent", "{message_id}": "message"}),
    "post_mail": Row(namespace="mailbox", method="post", positional=("payload",), renamed={"{agent_id}": "agent"}),
    "ack_mail": Row(namespace="mailbox", method="ack", renamed={"{agent_id}": "agent", "{message_id}": "message"}),
    "redeliver_mail": Row(
        namespace="mailbox", method="redeliver", renamed={"{agent_id}": "agent", "{message_id}": "message"}
    ),
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
    "trust": Row(method="allow"),
    "validate_definition": Row(renamed={"id": "name"}),
}
