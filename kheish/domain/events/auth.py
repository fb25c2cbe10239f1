"""Events of `journals/auth`: secrets, tokens, and access rights. None of them holds a secret's value."""

from __future__ import annotations

from typing import Literal

from kheish.state.event import Event, frozen

Action = Literal[
    "model", "http", "shell", "mcp", "delivery", "secret", "token", "access", "approval", "auth", "hook", "asset"
]
Outcome = Literal["begun", "done", "failed", "refused"]


@frozen
class SecretChanged(Event):
    """A change of a slot: set, rotated, encrypted for other recipients, or removed; `digest` is sha256 of its file."""

    kind = "secret.changed"
    stream = "auth"
    headline = "secret {change}: {slot}"
    slot: str
    change: Literal["added", "rotated", "rekeyed", "described", "removed"]
    version: int  # of the value, from 1; rekeying keeps it
    digest: str | None = None
    description: str | None = None
    recipients: tuple[str, ...] = ()
    created_at: str | None = None
    value_at: str | None = None  # when the value was last set


@frozen
class AccessRevoked(Event):
    """A block on all use of a subject, a slot, or an account. Its leases end at once. It survives restarts."""

    kind = "access.revoked"
    stream = "auth"
    headline = "access revoked: {what} {id}"
    what: Literal["subject", "slot", "lease", "account"]
    id: str
    reason: str | None = None
    leases: tuple[str, ...] = ()  # those ended by the revocation


@frozen
class AccessRestored(Event):
    """The end of a revocation; setting a slot to a new value also ends its revocation."""

    kind = "access.restored"
    stream = "auth"
    headline = "access restored: {what} {id}"
    what: Literal["subject", "slot", "account"]
    id: str


@frozen
class TokenChanged(Event):
    """The creation or revocation of a token; no file has the token's text."""

    kind = "token.changed"
    stream = "auth"
    headline = "token {change}: {name}"
    name: str
    role: str
    change: Literal["created", "revoked"]
    person: str | None = None
    sessions: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    expires_at: str | None = None


@frozen
class LoginChanged(Event):
    """A browser's login by a link, or its logout; the entry's actor is the token behind the login."""

    kind = "login.changed"
    stream = "auth"
    login_id: str
    change: Literal["opened", "closed"]
    expires_at: str | None = None


@frozen
class AuditRecorded(Event):
    """An external action, or a change of access rights. `prev` is the sha256 of the previous line in `journals/audit`
    (zeros for the first line), so changing a line breaks every later link."""

    kind = "audit.recorded"
    stream = "audit"
    chained = True
    action: Action
    outcome: Outcome
    subject: str
    parent: str | None = None  # the subject's parent
    target: str | None = None
    session: str | None = None
    run: str | None = None
    request_digest: str | None = None
    response_digest: str | None = None
    prev: str = ""
