"""Errors about who may do what: tokens, persons, approvals, addresses, secrets."""

from __future__ import annotations

from kheish.errors.base import Conflict, Forbidden, Invalid, KheishError, Unauthorized, Unavailable


class SecretInArguments(Invalid):
    code, title = "secret_in_arguments", "Secret in arguments"


class AddressNotAllowed(Forbidden):
    code, domain, title = "address_not_allowed", "network", "The address is not allowed"


class OutOfScope(Forbidden):
    # `scope` in `extra` names the limiting scope
    code, domain, title = "out_of_scope", "auth", "Outside the credential scope"


class PersonRequired(Forbidden):
    code, domain, title = "person_required", "approvals", "A person must answer"


class ApprovalResolved(Conflict):
    code, domain, title = "approval_resolved", "approvals", "The approval is already resolved"


class SamePerson(Conflict):
    code, domain, title = "same_person", "approvals", "Another person must decide"


class QuestionResolved(Conflict):
    code, domain, title = "question_resolved", "questions", "The question is already resolved"


class FetchFailed(KheishError):
    status, code, domain, exit_code, title = 502, "fetch_failed", "network", 1, "The page could not be fetched"


class NotConnected(FetchFailed):
    """The error of a request that was not sent: the host is unknown or accepts no connection."""


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


class SignatureInvalid(Unauthorized):
    # not counted against the caller's address: an attacker would lock out all senders behind one proxy
    code, domain, title = "signature_invalid", "connectors", "The signature is not valid"


class SenderNotAllowed(Forbidden):
    code, domain, title = "sender_not_allowed", "connectors", "The sender is not allowed"


class ButtonRefused(Conflict):
    code, domain, title = "button_refused", "connectors", "The button decides nothing any more"


class ConnectorNotReady(Unavailable):
    code, domain, title = "connector_not_ready", "connectors", "The connector is not ready"
