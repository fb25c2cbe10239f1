"""Errors about what is stored: the state root, its backup, Definitions, Playbooks, memory."""

from __future__ import annotations

from kheish.errors.base import Conflict, Invalid, KheishError, TooMany, Unavailable


class FileRefused(Invalid):
    # not a regular file, or too large; `reason` in `extra` continues a sentence about it
    code, domain, title = "file_refused", "store", "The file cannot be read"

    @property
    def reason(self) -> str:
        """The error of the file, as words after its name."""
        return str(self.extra["reason"])


class UnknownEvent(Invalid):
    code, domain, title = "unknown_event", "events", "Unknown event number"


class InvalidDefinition(Invalid):
    # `errors` carries key paths; `problems` in `extra` the lines and columns
    code, domain, title, exit_code = "invalid_definition", "definitions", "Invalid definition", 1


class MemoryChanged(Conflict):
    code, domain, title = "memory_changed", "memory", "The memory file changed meanwhile"


class ProposalDecided(Conflict):
    code, domain, title = "proposal_decided", "memory", "The proposal is already decided"


class DefinitionReferenced(Conflict):
    code, domain, title = "definition_referenced", "definitions", "The definition is still referenced"


class DefinitionManaged(Conflict):
    """The error of a file that belongs to another stack; `managed_by` in `extra` names it."""

    code, domain, title = "definition_managed", "definitions", "The definition belongs to another stack"


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


class AssetReferenced(Conflict):
    """The error of an asset that is still used; `referenced_by` in `extra` lists the users."""

    code, domain, title = "asset_referenced", "assets", "The asset is still referenced"


class AssetTypeMismatch(Conflict):
    code, domain, title = "asset_type_mismatch", "assets", "The content has another type than claimed"


class NoObservations(Conflict):
    code, domain, title = "no_observations", "observations", "No observation matches"


class ObservationUnreadable(Conflict):
    code, domain, title = "observation_unreadable", "observations", "The observation's content cannot be read"


class RateExceeded(TooMany):
    # `retry_after` in `extra`: seconds
    code, domain, title = "rate_exceeded", "observations", "More than the source's rate"


class SecretInUpload(Invalid):
    code, domain, title = "secret_in_upload", "assets", "The file holds a secret"


class StateRewound(Conflict):
    code, domain, title = "state_rewound", "state", "The state root was moved back"


class MemoryFull(Conflict):
    """The error of a memory folder that has no room; `limit` in `extra` is `files`, `bytes` or `proposals`."""

    code, domain, title = "memory_full", "memory", "The memory folder is full"


class LockHeld(Conflict):
    code, domain, title = "state_root_locked", "state", "Another daemon serves this state root"


class StoreFailed(Unavailable):
    code, domain, title = "store_failed", "state", "The store has failed"

    @classmethod
    def of(cls, what: str, error: OSError) -> StoreFailed:
        """Return the error that `what` failed, with the system's reason."""
        ends = "the daemon stops. No acknowledged data is lost. Repair the disk, then restart the daemon."
        return cls(f"{what} ({error.strerror}); {ends}")


class BackupFailed(Unavailable):
    code, domain, title, exit_code = "backup_failed", "backup", "The backup failed", 1


class BackupDiverged(Conflict):
    code, domain, title = "backup_diverged", "backup", "The remote cannot be merged"


class TakenOver(Conflict):
    code, domain, title = "taken_over", "backup", "Another daemon has taken over"


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
