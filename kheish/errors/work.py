"""Errors about work: sessions, runs, agents, messages, tasks, projects, goals, Flows, and workspaces."""

from __future__ import annotations

from typing import Any, Literal

from kheish.errors.base import Conflict, Forbidden, Invalid, KheishError, NotFound, TooMany

#: the reasons why a path of a workspace is refused
Reason = Literal["outside", "git", "hidden", "special", "loop", "link", "missing", "unreadable"]


class RouteRequired(Invalid):
    code, domain, title = "route_required", "routes", "No route chosen"


class InvalidInput(Invalid):
    code, domain, title = "input_contract_unsatisfied", "runs", "The input does not fit the session's contract"


class ScopeTooWide(Forbidden):
    code, domain, title = "scope_too_wide", "agents", "Wider than the parent"


class SessionDeleted(NotFound):
    code, domain, title = "session_deleted", "sessions", "The session was deleted"


class SessionConflict(Conflict):
    code, domain, title = "session_conflict", "sessions", "The session exists with other settings"


class SessionNotIdle(Conflict):
    code, domain, title = "session_not_idle", "sessions", "The session is not idle"


class SessionEnded(Conflict):
    code, domain, title = "session_ended", "sessions", "The session has ended"


class NoAnswer(KheishError):
    """A caller in another protocol waited for the answer of a run that has ended without one. `run_code` says why."""

    status, code, domain, title = 500, "run_failed", "runs", "The run has no answer"


class RunStateConflict(Conflict):
    code, domain, title = "run_state_conflict", "runs", "The run's state does not allow this"


class MessageStateConflict(Conflict):
    code, domain, title = "message_state_conflict", "mailboxes", "The message's state does not allow this"


class TaskExists(Conflict):
    code, domain, title = "task_exists", "tasks", "The title or id is taken"


class TaskCycle(Conflict):
    code, domain, title = "task_cycle", "tasks", "The tasks would block each other"


class TaskBlocked(Conflict):
    code, domain, title = "task_blocked", "tasks", "The task cannot begin now"


class TaskClaimed(Conflict):
    code, domain, title = "task_claimed", "projects", "Another holder has the task"


class ClaimLost(Conflict):
    code, domain, title = "claim_lost", "projects", "The claim has ended"


class TaskStateConflict(Conflict):
    code, domain, title = "task_state_conflict", "tasks", "The task's state does not allow this"


class GoalStateConflict(Conflict):
    code, domain, title = "goal_state_conflict", "goals", "The goal's state does not allow this"


class DeliveryStateConflict(Conflict):
    code, domain, title = "delivery_state_conflict", "deliveries", "The delivery's state does not allow this"


class FlowStateConflict(Conflict):
    code, domain, title = "flow_state_conflict", "flows", "The Flow's state does not allow this"


class RouteNotReady(Conflict):
    code, domain, title = "route_not_ready", "routes", "The route is not ready"


class WorkspaceNotAllowed(Invalid):
    code, domain, title = "workspace_not_allowed", "sessions", "This workspace cannot be used"


class NotBeneath(KheishError):
    """The error that a path of a workspace is not opened: it leads out, to no file, or to a hidden path."""

    status, code, domain, exit_code, title = 400, "not_beneath", "sessions", 2, "Not a file in the workspace"

    def __init__(self, detail: str, *, reason: Reason = "unreadable", **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.reason = reason


class NotAFolder(NotBeneath):
    """The error that a path leads to something other than a folder."""


class NotThere(NotBeneath):
    status, exit_code = 404, 3


class WorkspaceSlow(KheishError):
    status, code, domain, exit_code, title = 503, "workspace_slow", "sessions", 6, "The workspace does not respond"


class SpawnQuota(TooMany):
    code, domain, title, exit_code = "spawn_quota", "agents", "A quota of agents is reached", 4


class MailboxFull(TooMany):
    code, domain, title = "mailbox_full", "mailboxes", "The mailbox is full"


class AgentExists(Conflict):
    code, domain, title = "agent_exists", "agents", "A child with this name exists"


class AgentStateConflict(Conflict):
    code, domain, title = "agent_state_conflict", "agents", "The agent's state does not allow this"


class WorktreeConflict(Conflict):
    code, domain, title = "worktree_conflict", "agents", "The worktree does not allow this"
