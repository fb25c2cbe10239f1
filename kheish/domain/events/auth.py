"""Events of `journals/auth`: secrets, tokens, and who may use what. None of them holds a secret's value."""

from __future__ import annotations

from typing import Literal

from kheish.state.event import Event, frozen


@frozen
class SecretChanged(Event):
    """A slot was set, rotated, encrypted anew for other recipients, or removed; `digest` is sha256 of its file."""

    kind = "secret.changed"
    stream = "auth"
    slot: str
    change: Literal["added", "rotated", "rekeyed", "described", "removed"]
    version: int  # of the value, from 1; rekeying leaves it
    digest: str | None = None
    description: str | None = None
    recipients: tuple[str, ...] = ()
    created_at: str | None = None
    value_at: str | None = None  # when the value was set


@frozen
class AccessRevoked(Event):
    """Nobody may use it any more: a subject, a slot, or an account; leases end at once. It survives restarts."""

    kind = "access.revoked"
    stream = "auth"
    what: Literal["subject", "slot", "lease", "account"]
    id: str
    reason: str | None = None
    leases: tuple[str, ...] = ()  # those that ended with it


@frozen
class AccessRestored(Event):
    """A revocation was taken back; a slot's also by setting it anew."""

    kind = "access.restored"
    stream = "auth"
    what: Literal["subject", "slot", "account"]
    id: str


@frozen
class TokenChanged(Event):
    """A token was made or revoked; its text is in no file."""

    kind = "token.changed"
    stream = "auth"
    name: str
    role: str
    change: Literal["created", "revoked"]
    person: str | None = None
    sessions: tuple[str, ...] = ()
    expires_at: str | None = None


@frozen
class LoginChanged(Event):
    """A browser was logged in by a link, or logged out; the entry's actor is the token that the login stands for."""

    kind = "login.changed"
    stream = "auth"
    login_id: str
    change: Literal["opened", "closed"]
    expires_at: str | None = None


@frozen
class AuditRecorded(Event):
    """An external action, or something about who may do what. `prev` is the sha256 of the line before this one in
    `journals/audit` (zeros for the first): whoever changes a line breaks every link after it."""

    kind = "audit.recorded"
    stream = "audit"
    chained = True
    action: Literal["model", "http", "shell", "delivery", "secret", "token", "access", "approval", "auth"]
    outcome: Literal["begun", "done", "failed", "refused"]
    subject: str
    parent: str | None = None  # whose child the subject is
    target: str | None = None
    session: str | None = None
    run: str | None = None
    request_digest: str | None = None
    response_digest: str | None = None
    prev: str = ""
