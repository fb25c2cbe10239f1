"""The broker: decides which subject may use which credential at the moment. Execution holds leases, never its own
credentials.

A *subject* (`session:fix-it`, `agent:…`, `daemon`) that acts for an *audience* (`route:main`) gets a *lease* on the
credentials that the audience's Definition refers to (its *grant*). Revoking a subject or slot ends its leases at once,
together with the requests in flight. A revocation is journaled, so that it holds after a restart too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import orjson

from kheish import ids
from kheish.auth import audit, stored_account
from kheish.auth.vault import Vault
from kheish.domain import events, routes, scopes
from kheish.domain.connectors.definition import AUDIENCE as CONNECTOR
from kheish.domain.definitions import Definition
from kheish.domain.hooks.definition import AUDIENCE as HOOK
from kheish.domain.mcp import tokens
from kheish.domain.mcp.server import AUDIENCE
from kheish.domain.outputs.definition import AUDIENCE as OUTPUT
from kheish.domain.routes import Route
from kheish.domain.scopes import Scopes
from kheish.errors import CredentialRevoked, KheishError, NotFound, SecretUnreadable
from kheish.state.state import State

T = TypeVar("T")
What = Literal["subject", "slot", "lease", "account"]

#: the names of a credential: a slot, and the account that it is the key of
_OF_SLOTS: tuple[Literal["slot", "account"], ...] = ("slot", "account")

#: seconds; a lease is renewed as long as its purpose is in flight
LEASE_SECONDS = 60.0
#: the same for connectors, whose long polls and sockets last longer
CONNECTOR_SECONDS = 300.0


@dataclass(slots=True, kw_only=True)
class Lease:
    """A short-lived permission to use one slot for one purpose."""

    lease_id: str
    subject: str
    slot: str
    audience: str
    made: float
    value: str = field(repr=False)
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    ended_by: tuple[What, str] | None = None  # the revocation that ended this lease

    def view(self, now: float) -> dict[str, Any]:
        """Return the lease as the API shows it; `now` is in the clock of `made`."""
        seconds = CONNECTOR_SECONDS if self.audience.startswith(CONNECTOR) else LEASE_SECONDS
        terms = int((now - self.made) // seconds) + 1
        return {
            "lease_id": self.lease_id,
            "subject": self.subject,
            "slot": self.slot,
            "audience": self.audience,
            "made_at": ids.stamp(self.made),
            "expires_at": ids.stamp(self.made + terms * seconds),
        }


class Broker:
    """The leases of a daemon. `revoked` holds (what, id) pairs, as `journals/auth` has them."""

    def __init__(self, state: State, vault: Vault, environ: Mapping[str, str]) -> None:
        self._state = state
        self._vault = vault
        self._environ = environ
        self._leases: dict[str, Lease] = {}
        self.revoked: set[tuple[What, str]] = set()
        #: renews the tokens of an account in a slot before its use (`auth.accounts`)
        self.renew: Callable[[str], Awaitable[None]] = _leave

    # --- using --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(
        self, subjects: Iterable[str], slot: str, audience: str, *, scope: Scopes, is_audited: bool = True
    ) -> AsyncIterator[Lease]:
        """Yield a lease for the first of `subjects`, if none of them is revoked and their `scope` includes the audience
        and the slot. A refusal is audited, unless the call that follows for the same purpose requests its own lease.
        Raises CredentialRevoked, OutOfScope, NotFound, SecretUnreadable."""
        asked = list(subjects)
        try:
            scopes.check_use(scope, audience, slot)
            self._refuse_revoked(asked, slot)
            await self.renew(slot)
            value = self._value(slot)
        except KheishError as error:
            if is_audited:
                self._state.append(audit.lease_refused(asked[0], f"{audience}, {slot}: {error.code}").on())
            raise
        lease = Lease(
            lease_id=f"lease_{secrets.token_hex(13)}",
            subject=asked[0],
            slot=slot,
            audience=audience,
            made=self._state.clock(),
            value=value,
        )
        self._leases[lease.lease_id] = lease
        try:
            yield lease
        finally:
            del self._leases[lease.lease_id]

    def _refuse_revoked(self, subjects: Iterable[str], slot: str) -> None:
        keys: list[tuple[What, str]] = [("slot", slot), ("account", slot)]
        keys += [("subject", subject) for subject in subjects]
        for what, id in keys:
            if (what, id) in self.revoked:
                raise CredentialRevoked(
                    f"The {what} {id} is revoked; no credential is leased for it. {_way_on(what, id)}"
                )

    def _value(self, slot: str) -> str:
        value = routes.from_environment(slot, self._environ)
        if value is not None:
            return value
        value = self._vault.value(slot)
        account = stored_account.read(slot, value)
        if account is None:
            return value
        if account.lacks is not None:
            raise SecretUnreadable(f"The account {account.account!r} cannot be used: {account.lacks}")
        return account.tokens["access_token"]

    # --- revoking -----------------------------------------------------------------------------------------------------

    def revoke(self, what: What, id: str, *, by: str, reason: str | None = None) -> list[str]:
        """End all leases of a subject, a slot or an account (or a single lease), and grant no more. Return the leases
        that ended."""
        ended = [lease for lease in self._leases.values() if _is_of(lease, what, id)]
        if what == "lease" and not ended:
            raise NotFound(f"There is no active lease {id!r}.")
        names = tuple(lease.lease_id for lease in ended)
        self._state.append(events.AccessRevoked(what=what, id=id, reason=reason, leases=names).on(by=by))
        if what != "lease":
            self.revoked.add((what, id))
            self._publish()
        for lease in ended:
            lease.ended_by = what, id
            lease.ended.set()
        return list(names)

    def end(self, slot: str) -> None:
        """End all leases of a slot whose value is gone, and the work in flight under them."""
        for lease in self._leases.values():
            if lease.slot == slot:
                lease.ended_by = "slot", slot
                lease.ended.set()

    def restore(self, what: Literal["subject", "slot", "account"], id: str, *, by: str) -> None:
        """Cancel a revocation. Raises NotFound."""
        if (what, id) not in self.revoked:
            raise NotFound(f"The {what} {id!r} is not revoked.")
        self._state.append(events.AccessRestored(what=what, id=id).on(by=by))
        self.revoked.discard((what, id))
        self._publish()

    async def renewed(self, slot: str, *, by: str) -> None:
        """Lift the revocation of a slot's old value, since the slot has a new value."""
        for what in _OF_SLOTS:
            if (what, slot) in self.revoked:
                self.restore(what, slot, by=by)
        await self._state.durable()

    def _publish(self) -> None:
        """Mark every route that needs a revoked credential as not ready, so that submissions are refused."""
        self._vault.revoked = {
            id: f"the {what} is revoked. {_way_on(what, id)}" for what, id in sorted(self.revoked) if what in _OF_SLOTS
        }
        self._state.slots = self._vault.readiness()

    def remember(self) -> None:
        """Read the revocations from before this start. Blocks on disk."""
        kinds = (events.AccessRevoked.kind, events.AccessRestored.kind)
        for _, kind, line in self._state.index.stream("journals/auth", kinds):
            data = orjson.loads(line)["data"]
            key = (data["what"], data["id"])
            if kind == events.AccessRestored.kind:
                self.revoked.discard(key)
            elif data["what"] != "lease":
                self.revoked.add(key)
        self._publish()

    # --- reading ------------------------------------------------------------------------------------------------------

    def leases(self) -> list[dict[str, Any]]:
        """Return the active leases, oldest first, without values."""
        now = self._state.clock()
        return [lease.view(now) for lease in self._leases.values()]

    def grants(self) -> list[dict[str, Any]]:
        """Return which audience may use which slot, by the Definitions in force."""
        known = sorted(self._state.definitions.routes.items())
        granted = [self._grant(id, route) for id, route in known if route.auth_ref]
        servers = sorted(self._state.definitions.by_kind["mcp"].items())
        hooks = sorted(self._state.definitions.by_kind["hooks"].items())
        sinks = sorted(self._state.definitions.by_kind["outputs"].items())
        connectors = sorted(self._state.definitions.by_kind["connectors"].items())
        users = [(f"{AUDIENCE}{id}", one) for id, one in servers]
        users += [(f"{HOOK}{id}", one) for id, one in hooks]
        users += [(f"{CONNECTOR}{id}", one) for id, one in connectors]
        users += [(f"{OUTPUT}{id}", one) for id, one in sinks]
        return granted + [grant for audience, one in users for grant in self._user_grants(audience, one)]

    def _grant(self, route_id: str, route: Route) -> dict[str, Any]:
        slot = route.auth_ref or ""
        why = routes.readiness(route_id, route, self._environ, self._state.slots)
        return {"grant_id": f"route:{route_id}", "audience": f"route:{route_id}", "slot": slot,
                "status": "not_ready" if why else "ready", "reason": why}  # fmt: skip

    def _user_grants(self, audience: str, user: Definition) -> list[dict[str, Any]]:
        reasons = {slot: routes.lacking(slot, self._environ, self._state.slots) for slot in user.slots}
        return [
            {"grant_id": audience if at == 0 else f"{audience}/{slot}", "audience": audience, "slot": slot,
             "status": "not_ready" if why else "ready", "reason": why}
            for at, (slot, why) in enumerate(reasons.items())
        ]  # fmt: skip

    def accounts(self) -> list[dict[str, Any]]:
        """Return the daemon's accounts at providers: one for each slot of the vault and each variable that a route
        names, by its key, or by the tokens of a login at an MCP server."""
        grants = self.grants()
        known = {**dict.fromkeys(grant["slot"] for grant in grants), **self._state.slots}
        return [
            {
                "account_id": id,
                "kind": "api_key",
                "slot": id,
                "audiences": [grant["audience"] for grant in grants if grant["slot"] == id],
                "status": "not_ready" if (why := self._lacking(id)) else "ready",
                "reason": why,
                "issuer": None,
                "expires_at": None,
                **self._login(id),
            }
            for id in sorted(known)
        ]

    def _login(self, slot: str) -> dict[str, Any]:
        """Return what differs for an account with OAuth tokens, of a provider or of an MCP server."""
        found = self._vault.slots.get(slot)
        account = stored_account.read(slot, found.value) if found is not None else None
        if account is not None:
            expires = ids.stamp(account.expires_at) if account.expires_at is not None else None
            return {"kind": "oauth", "issuer": account.issuer, "expires_at": expires}
        login = tokens.read(slot, found.value) if found is not None else None
        if login is None:
            return {}
        expires = ids.stamp(login.expires_at) if login.expires_at is not None else None
        audiences = [f"{AUDIENCE}{login.server}"]
        return {"kind": "oauth", "audiences": audiences, "issuer": login.issuer, "expires_at": expires}

    def _lacking(self, slot: str) -> str | None:
        """Return the reason why a credential is unavailable, or None."""
        if slot in self._state.slots:
            return self._state.slots[slot]
        return None if routes.from_environment(slot, self._environ) else f"There is no {slot}."

    def subject(self, id: str) -> dict[str, Any]:
        """Return a subject's leases, and whether it is revoked."""
        held = [lease for lease in self.leases() if lease["subject"] == id]
        return {"subject": id, "revoked": ("subject", id) in self.revoked, "leases": held}


async def _leave(slot: str) -> None:
    """Leave a slot as it is."""


def _is_of(lease: Lease, what: What, id: str) -> bool:
    of: dict[What, str] = {"subject": lease.subject, "slot": lease.slot, "account": lease.slot, "lease": lease.lease_id}
    return id == of[what]


def _way_on(what: What, id: str) -> str:
    """Return advice for the reader of a failed run."""
    if what == "lease":
        return "Nothing else was revoked, so the run can be retried: kheish runs retry RUN."
    new = f", or give it a new value with `kheish secrets rotate {id}`" if what in _OF_SLOTS and ids.is_slug(id) else ""
    return f"Allow it again with `kheish auth restore {what} {id}`{new}; then: kheish runs retry RUN."


async def using(lease: Lease, work: Awaitable[T]) -> T:
    """Run work with a lease; it is stopped when the lease ends. Raises CredentialRevoked."""
    doing = asyncio.ensure_future(work)
    ended = asyncio.ensure_future(lease.ended.wait())
    try:
        await asyncio.wait((doing, ended), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            what, id = lease.ended_by or ("lease", lease.lease_id)
            used = "it" if what == "slot" else f"the credential {lease.slot}"
            raise CredentialRevoked(f"The {what} {id} was revoked while {used} was in use. {_way_on(what, id)}")
        return doing.result()
    finally:
        for task in (doing, ended):
            task.cancel()
        await asyncio.gather(doing, ended, return_exceptions=True)
