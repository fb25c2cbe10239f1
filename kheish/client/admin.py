"""What whoever looks after a daemon uses of the blocking client: secrets, access, tokens, audit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from kheish.client import calls_admin as calls
from kheish.client.calls import given
from kheish.client.shapes import Json, Page

if TYPE_CHECKING:
    from kheish.client.sync import Kheish


class Secrets:
    """Slots of the vault; values go in, and never come out."""

    def __init__(self, client: Kheish) -> None:
        self._send = client.send

    def list(self, **query: object) -> Page[Json]:
        """One page, by name; `limit`, `cursor`."""
        return self._send(calls.secret_list(query))

    def get(self, slot: str) -> Json:
        return self._send(calls.secret_get(slot))

    def put(self, slot: str, value: str, description: str | None = None) -> Json:
        """Set or rotate a slot. Raises Invalid, IdentityMissing."""
        return self._send(calls.secret_put(slot, value, description))

    def rekey(self) -> Page[Json]:
        """Encrypt all slots anew for secrets/recipients.txt."""
        return self._send(calls.secret_rekey())

    def revealed(self, slot: str) -> Json:
        """Have the audit note that the value was shown to a person on the daemon's machine."""
        return self._send(calls.secret_revealed(slot))

    def remove(self, slot: str) -> None:
        """Remove a slot. Raises SecretReferenced."""
        self._send(calls.secret_remove(slot))


class Access:
    """Who may use which credential now."""

    def __init__(self, client: Kheish) -> None:
        self._send = client.send

    def accounts(self) -> Page[Json]:
        """What the daemon can be at providers."""
        return self._send(calls.accounts())

    def grants(self) -> Page[Json]:
        return self._send(calls.grants())

    def leases(self) -> Page[Json]:
        return self._send(calls.leases())

    def subject(self, id: str) -> Json:
        return self._send(calls.subject(id))

    def revoke(self, what: str, id: str, reason: str | None = None) -> Json:
        """`what` is subject, slot, lease or account; what is in flight with it ends at once."""
        return self._send(calls.revoke(what, id, reason))

    def restore(self, what: str, id: str) -> Json:
        return self._send(calls.restore(what, id))


class Tokens:
    """Tokens of callers."""

    def __init__(self, client: Kheish) -> None:
        self._send = client.send

    def list(self, **query: object) -> Page[Json]:
        """One page, by name; `limit`, `cursor`."""
        return self._send(calls.token_list(query))

    def create(
        self,
        name: str,
        role: str,
        *,
        person: str | None = None,
        sessions: Sequence[str] = (),
        expires: str | None = None,
    ) -> Json:
        """Make a token; `["token"]` is its text, which no later call shows."""
        body = given(name=name, role=role, person=person, sessions=list(sessions) or None, expires=expires)
        return self._send(calls.token_create(body))

    def revoke(self, name: str) -> None:
        self._send(calls.token_revoke(name))


class Login:
    """Logins of browsers, as whoever this client is."""

    def __init__(self, client: Kheish) -> None:
        self._client = client

    def link(self) -> Json:
        """A link that logs one browser in, once, within a minute: `["url"]`, `["expires_at"]`. Raises Forbidden."""
        made = self._client.send(calls.login_link())
        return {"url": self._client.url + made["path"], "expires_at": made["expires_at"]}

    def who(self) -> Json:
        """Who asks: name, role, person, sessions."""
        return self._client.send(calls.who_am_i())

    def out(self) -> None:
        """Log all browsers out that were logged in by this client's token."""
        self._client.send(calls.log_out())


class Trust:
    """What may start commands that nobody is asked about."""

    def __init__(self, client: Kheish) -> None:
        self._send = client.send

    def list(self, **query: object) -> Page[Json]:
        """One page, newest first; playbook, limit, cursor."""
        return self._send(calls.trust_list(query))

    def get(self, name: str) -> Json:
        """One version: `id@version`. Raises NotFound."""
        return self._send(calls.trust_get(name))

    def allow(self, name: str, digest: str) -> Json:
        """Trust the content of `id@version` that has this digest. Raises DigestConflict, NotFound."""
        return self._send(calls.trust_allow(name, digest))


class Audit:
    """The record of external actions and of changes of access."""

    def __init__(self, client: Kheish) -> None:
        self._send = client.send

    def list(self, **query: object) -> Page[Json]:
        """One page, oldest first; action, outcome, subject, session, run, after, limit, cursor."""
        return self._send(calls.audit_list(query))

    def verify(self, *, key: str | None = None) -> Json:
        """Whether the chain holds; `["finding"]` is the first thing that is wrong."""
        return self._send(calls.audit_verify(key))


class Administered:
    """What a client has for whoever looks after the daemon."""

    @cached_property
    def secrets(self: Kheish) -> Secrets:  # type: ignore[misc]  # it is mixed into that class alone
        return Secrets(self)

    @cached_property
    def access(self: Kheish) -> Access:  # type: ignore[misc]  # it is mixed into that class alone
        return Access(self)

    @cached_property
    def audit(self: Kheish) -> Audit:  # type: ignore[misc]  # it is mixed into that class alone
        return Audit(self)

    @cached_property
    def login(self: Kheish) -> Login:  # type: ignore[misc]  # it is mixed into that class alone
        return Login(self)

    def logs(self: Kheish, **query: object) -> Page[Json]:  # type: ignore[misc]  # it is mixed into that class alone
        """The newest lines of the daemon's log, newest first; level (from it on), limit, cursor."""
        return self.send(calls.logs(query))

    def usage(self: Kheish, **query: object) -> Page[Json]:  # type: ignore[misc]  # it is mixed into that class alone
        """What was spent; `by` (session, route, day: with commas) sums up. session, route, day, limit, cursor."""
        return self.send(calls.usage(query))

    @cached_property
    def trust(self: Kheish) -> Trust:  # type: ignore[misc]  # it is mixed into that class alone
        return Trust(self)

    @cached_property
    def tokens(self: Kheish) -> Tokens:  # type: ignore[misc]  # it is mixed into that class alone
        return Tokens(self)
