"""Every error that Kheish raises on purpose, in one tree of classes; the reference lists them.

Each class carries the HTTP status, a stable `code`, a `domain`, and the CLI's exit code, so that the API and the CLI
translate in exactly one place each. Code must never match on text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

#: the reasons why a path of a workspace is refused
Reason = Literal["outside", "git", "hidden", "special", "loop", "link", "missing", "unreadable"]


@dataclass(frozen=True, slots=True)
class Fault:
    """An invalid place: `path` is a JSON pointer into the request (or a file's key path)."""

    path: str
    message: str


class KheishError(Exception):
    """The base class of all errors; `detail` is a sentence that describes the error and its remedy."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    domain: ClassVar[str] = "daemon"
    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, errors: Sequence[Fault] = (), **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        #: further members of the problem document (RFC 9457 extension members)
        self.extra = extra


class Invalid(KheishError):
    status, code, domain, exit_code, title = 400, "invalid_request", "request", 2, "Invalid request"


class SecretInArguments(Invalid):
    code, title = "secret_in_arguments", "Secret in arguments"


class FileRefused(Invalid):
    """The error that a file is not a regular one, or too large; `reason` in `extra` continues a sentence about it."""

    code, domain, title = "file_refused", "store", "The file cannot be read"

    @property
    def reason(self) -> str:
        """The error of the file, as words after its name."""
        return str(self.extra["reason"])


class UnknownEvent(Invalid):
    code, domain, title = "unknown_event", "events", "Unknown event number"


class InvalidCursor(Invalid):
    code, title = "invalid_cursor", "Invalid cursor"


class RouteRequired(Invalid):
    code, domain, title = "route_required", "routes", "No route chosen"


class IdempotencyMismatch(Invalid):
    code, title = "idempotency_key_mismatch", "Two different idempotency keys"


class InvalidInput(Invalid):
    code, domain, title = "input_contract_unsatisfied", "runs", "The input does not fit the session's contract"


class InvalidDefinition(Invalid):
    """The error of a definition. `errors` carries key paths; `problems` in `extra` the lines and columns."""

    code, domain, title, exit_code = "invalid_definition", "definitions", "Invalid definition", 1


class Unauthorized(KheishError):
    status, code, domain, exit_code, title = 401, "unauthorized", "auth", 7, "A valid token is required"


class Forbidden(KheishError):
    status, code, domain, exit_code, title = 403, "forbidden", "auth", 7, "Not allowed"


class AddressNotAllowed(Forbidden):
    code, domain, title = "address_not_allowed", "network", "The address is not allowed"


class OutOfScope(Forbidden):
    """The error that an audience is out of scope; `scope` in `extra` names the limiting scope."""

    code, domain, title = "out_of_scope", "auth", "Outside the credential scope"


class ScopeTooWide(Forbidden):
    code, domain, title = "scope_too_wide", "agents", "Wider than the parent"


class PersonRequired(Forbidden):
    code, domain, title = "person_required", "approvals", "A person must answer"


class NotFound(KheishError):
    status, code, domain, exit_code, title = 404, "not_found", "request", 3, "Not found"


class SessionDeleted(NotFound):
    code, domain, title = "session_deleted", "sessions", "The session was deleted"


class Conflict(KheishError):
    status, code, domain, exit_code, title = 409, "conflict", "request", 4, "Conflict"


class SessionConflict(Conflict):
    code, domain, title = "session_conflict", "sessions", "The session exists with other settings"


class SessionNotIdle(Conflict):
    code, domain, title = "session_not_idle", "sessions", "The session is not idle"


class SessionEnded(Conflict):
    code, domain, title = "session_ended", "sessions", "The session has ended"


class RunStateConflict(Conflict):
    code, domain, title = "run_state_conflict", "runs", "The run's state does not allow this"


class MessageStateConflict(Conflict):
    code, domain, title = "message_state_conflict", "mailboxes", "The message's state does not allow this"


class TaskExists(Conflict):
    code, domain, title = "task_exists", "tasks", "An active task has this title"


class TaskCycle(Conflict):
    code, domain, title = "task_cycle", "tasks", "The tasks would block each other"


class TaskBlocked(Conflict):
    code, domain, title = "task_blocked", "tasks", "Other tasks come first"


class TaskStateConflict(Conflict):
    code, domain, title = "task_state_conflict", "tasks", "The task's state does not allow this"


class GoalStateConflict(Conflict):
    code, domain, title = "goal_state_conflict", "goals", "The goal's state does not allow this"


class FlowStateConflict(Conflict):
    code, domain, title = "flow_state_conflict", "flows", "The Flow's state does not allow this"


class ApprovalResolved(Conflict):
    code, domain, title = "approval_resolved", "approvals", "The approval is already resolved"


class SamePerson(Conflict):
    code, domain, title = "same_person", "approvals", "Another person must decide"


class MemoryChanged(Conflict):
    code, domain, title = "memory_changed", "memory", "The memory file changed meanwhile"


class ProposalDecided(Conflict):
    code, domain, title = "proposal_decided", "memory", "The proposal is already decided"


class QuestionResolved(Conflict):
    code, domain, title = "question_resolved", "questions", "The question is already resolved"


class IdempotencyConflict(Conflict):
    code, title = "idempotency_conflict", "The idempotency key was used for another request"


class RouteNotReady(Conflict):
    code, domain, title = "route_not_ready", "routes", "The route is not ready"


class WorkspaceNotAllowed(Invalid):
    code, domain, title = "workspace_not_allowed", "sessions", "This workspace cannot be used"


class NotBeneath(KheishError):
    """The error that a path of a workspace is not opened: it leads out, to no file, or to a path that the daemon
    hides."""

    status, code, domain, exit_code, title = 400, "not_beneath", "sessions", 2, "Not a file in the workspace"

    def __init__(
        self, detail: str, *, reason: Reason = "unreadable", errors: Sequence[Fault] = (), **extra: Any
    ) -> None:
        super().__init__(detail, errors=errors, **extra)
        self.reason = reason


class NotAFolder(NotBeneath):
    """The error that a path leads to something other than a folder."""


class NotThere(NotBeneath):
    status, exit_code = 404, 3


class WorkspaceSlow(KheishError):
    status, code, domain, exit_code, title = 503, "workspace_slow", "sessions", 6, "The workspace does not respond"


class DefinitionReferenced(Conflict):
    code, domain, title = "definition_referenced", "definitions", "The definition is still referenced"


class VersionExists(Conflict):
    code, domain, title = "version_exists", "playbooks", "The version exists with other content"


class DigestConflict(Conflict):
    code, domain, title = "digest_conflict", "playbooks", "The content differs from the reviewed content"


class ReleaseStateConflict(Conflict):
    code, domain, title = "release_state_conflict", "playbooks", "The version's state does not allow this"


class VersionTampered(Conflict):
    code, domain, title = "version_tampered", "playbooks", "The version's tag differs from the published one"


class VersionNotStartable(Conflict):
    code, domain, title = "version_not_startable", "playbooks", "The version cannot be started in its state"


class NoActiveVersion(Conflict):
    code, domain, title = "no_active_version", "playbooks", "The Playbook has no active version"


class DraftNotCommitted(Conflict):
    code, domain, title = "draft_not_committed", "playbooks", "The draft is not committed"


class EvidenceRequired(Invalid):
    code, domain, title = "evidence_required", "playbooks", "Evidence is required"


class EvidenceUnresolved(Invalid):
    code, domain, title = "evidence_unresolved", "playbooks", "The evidence cannot be resolved"


class StateRewound(Conflict):
    code, domain, title = "state_rewound", "state", "The state root was moved back"


class LockHeld(Conflict):
    code, domain, title = "state_root_locked", "state", "Another daemon serves this state root"


class PreconditionFailed(KheishError):
    status, code, domain, exit_code, title = 412, "precondition_failed", "definitions", 4, "The resource has changed"


class TooLarge(KheishError):
    status, code, domain, exit_code, title = 413, "too_large", "request", 2, "Too large"

    @classmethod
    def of_body(cls, length: int, limit: int) -> TooLarge:
        """Return the error for a body with too many bytes."""
        return cls(f"The body has {length} bytes; at most {limit} are accepted.")


class UnsupportedMedia(KheishError):
    status, code, domain, exit_code, title = 415, "unsupported_media_type", "request", 2, "Unsupported media type"


class Misdirected(KheishError):
    status, code, domain, exit_code, title = 421, "unknown_host", "auth", 7, "Unknown host"


class TooMany(KheishError):
    status, code, domain, exit_code, title = 429, "too_many_requests", "request", 1, "Too many requests"


class SpawnQuota(TooMany):
    code, domain, title, exit_code = "spawn_quota", "agents", "A quota of agents is reached", 4


class MailboxFull(TooMany):
    code, domain, title = "mailbox_full", "mailboxes", "The mailbox is full"


class Unavailable(KheishError):
    status, code, domain, exit_code, title = 503, "unavailable", "daemon", 6, "Temporarily unavailable"


class FetchFailed(KheishError):
    status, code, domain, exit_code, title = 502, "fetch_failed", "network", 1, "The page could not be fetched"


class InsufficientStorage(KheishError):
    status, code, domain, exit_code, title = 507, "insufficient_storage", "state", 1, "Too little disk space"


class StoreFailed(Unavailable):
    code, domain, title = "store_failed", "state", "The store has failed"

    @classmethod
    def of(cls, what: str, error: OSError) -> StoreFailed:
        """Return the error that `what` failed, with the system's reason."""
        said = f"{what} ({error.strerror}); the daemon stops. No acknowledged data is lost."
        return cls(f"{said} Repair the disk, then restart the daemon.")


class BackupFailed(Unavailable):
    code, domain, title, exit_code = "backup_failed", "backup", "The backup failed", 1


class BackupDiverged(Conflict):
    code, domain, title = "backup_diverged", "backup", "The remote cannot be merged"


class TakenOver(Conflict):
    code, domain, title = "taken_over", "backup", "Another daemon has taken over"


class IdentityMissing(Conflict):
    code, domain, title = "identity_missing", "secrets", "The age identity is missing"


class SecretUnreadable(Conflict):
    code, domain, title = "secret_unreadable", "secrets", "The secret cannot be read"


class SecretReferenced(Conflict):
    code, domain, title = "secret_referenced", "secrets", "The secret is still referenced"


class KeyUnusable(Conflict):
    code, domain, title = "audit_key_unusable", "audit", "The audit key cannot be used"


class CredentialRevoked(Conflict):
    code, domain, title = "credential_revoked", "auth", "The credential was revoked"


class AgentExists(Conflict):
    code, domain, title = "agent_exists", "agents", "A child with this name exists"


class AgentStateConflict(Conflict):
    code, domain, title = "agent_state_conflict", "agents", "The agent's state does not allow this"


class WorktreeConflict(Conflict):
    code, domain, title = "worktree_conflict", "agents", "The worktree does not allow this"


class Internal(KheishError):
    """A defect of Kheish itself."""


class Damaged(KheishError):
    code, domain, title = "damaged", "state", "Damaged state"


class NewerFormat(Conflict):
    code, domain, title = "newer_format", "state", "The state root has a newer format"


class NotAStateRoot(Invalid):
    code, domain, title = "not_a_state_root", "state", "Not a state root"


class ForeignRepository(Conflict):
    code, domain, title = "foreign_repository", "state", "The folder is another git repository"


class AddressInUse(Conflict):
    code, domain, title = "address_in_use", "daemon", "The address is in use"


class Unreachable(KheishError):
    """The error that a client finds no daemon; only the client raises it."""

    status, code, domain, exit_code, title = 0, "unreachable", "client", 6, "The daemon is not reachable"
