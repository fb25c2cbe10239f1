"""Who may use which credential, by HTTP: grants, leases, subjects, and revoking them. No answer holds a value."""

from __future__ import annotations

from typing import Annotated, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Because, Body, Reason
from kheish.api.http.operation import bind, get, post
from kheish.api.services import Services
from kheish.auth.broker import What


class Revoke(Body):
    """What nobody may use any more."""

    what: Literal["subject", "slot", "lease", "account"]
    id: Annotated[str, Field(min_length=1, max_length=200)]
    """`session:fix-it`, `agent:agent_01…`; a slot's or an account's name, or `env:NAME`; a lease's id."""
    reason: Reason | None = None
    """Why, for the journal."""


class Restore(Body):
    """What may be used again."""

    what: Literal["subject", "slot", "account"]
    id: Annotated[str, Field(min_length=1, max_length=200)]


class Revoked(Answer):
    """What a revocation did."""

    what: str
    id: str
    revoked: bool
    leases: list[str]
    """Those that ended with it."""


class Grant(Answer):
    """A slot that a Definition refers to."""

    grant_id: str
    audience: str
    slot: str
    status: Literal["ready", "not_ready"]
    reason: str | None


class Account(Answer):
    """What the daemon can be at a provider."""

    account_id: str
    kind: Literal["api_key"]
    slot: str
    audiences: list[str]
    """What it is for, by the Definitions in force: `route:main`."""
    status: Literal["ready", "not_ready"]
    reason: str | None


class Lease(Answer):
    """A short-lived permission that is in use now."""

    lease_id: str
    subject: str
    slot: str
    audience: str
    made_at: str
    expires_at: str


class Subject(Answer):
    """Who acts, and what it holds."""

    subject: str
    revoked: bool
    leases: list[Lease]


class Access:
    """`/v1/auth` and what is below."""

    def __init__(self, parts: Services) -> None:
        self._broker = parts.broker
        self._state = parts.state

    async def list_grants(self, req: Request, resp: Response) -> None:
        """Which slots may be used for what."""
        media.send(resp, media.page(self._broker.grants()))

    async def list_accounts(self, req: Request, resp: Response) -> None:
        """The provider accounts: slots of the vault, and variables that routes name."""
        media.send(resp, media.page(self._broker.accounts()))

    async def list_leases(self, req: Request, resp: Response) -> None:
        """What is lent now."""
        media.send(resp, media.page(self._broker.leases()))

    async def get_subject(self, req: Request, resp: Response, subject: str) -> None:
        """What a subject holds now."""
        media.send(resp, self._broker.subject(subject))

    async def revoke(self, req: Request, resp: Response) -> None:
        """End leases, and what is in flight with them, and lend no more."""
        body = await media.read(req, Revoke)
        await self._revoke(req, resp, body.what, body.id, body.reason)

    async def revoke_subject(self, req: Request, resp: Response, subject: str) -> None:
        """The same for one subject."""
        await self._revoke(req, resp, "subject", subject, (await media.read(req, Because)).reason)

    async def revoke_lease(self, req: Request, resp: Response, lease: str) -> None:
        """The same for one lease. Raises NotFound."""
        await self._revoke(req, resp, "lease", lease, (await media.read(req, Because)).reason)

    async def restore_access(self, req: Request, resp: Response) -> None:
        """Take a revocation back. Raises NotFound."""
        body = await media.read(req, Restore)
        self._broker.restore(body.what, body.id, by=req.context.principal)
        await self._send(resp, body.what, body.id, [])

    async def _revoke(self, req: Request, resp: Response, what: What, id: str, reason: str | None) -> None:
        ended = self._broker.revoke(what, id, by=req.context.principal, reason=reason)
        await self._send(resp, what, id, ended)

    async def _send(self, resp: Response, what: str, id: str, leases: list[str]) -> None:
        n = self._state.n
        await self._state.durable()
        revoked = (what, id) in self._broker.revoked or what == "lease"
        media.send(resp, {"what": what, "id": id, "revoked": revoked, "leases": leases}, n=n)


SUBJECT = "/v1/auth/subjects/{subject}"
OPERATIONS = bind(
    Access,
    get("/v1/auth/accounts", Access.list_accounts, "Provider accounts, and what they are for.", Account, page=True),
    get("/v1/auth/grants", Access.list_grants, "Which slots may be used for what.", Grant, page=True),
    get("/v1/auth/leases", Access.list_leases, "What is lent now, oldest first.", Lease, page=True),
    get(SUBJECT, Access.get_subject, "What a subject holds now.", Subject),
    post(f"{SUBJECT}/revoke", Access.revoke_subject, "Lend it nothing more.", Because, Revoked),
    post(
        "/v1/auth/leases/{lease}/revoke",
        Access.revoke_lease,
        "End one lease, and what is in flight with it.",
        Because,
        Revoked,
        problems=(404,),
    ),
    post(
        "/v1/auth/revoke",
        Access.revoke,
        "End leases and what is in flight with them, and lend no more.",
        Revoke,
        Revoked,
        problems=(404,),
    ),
    post(
        "/v1/auth/restore",
        Access.restore_access,
        "Take a revocation back.",
        Restore,
        Revoked,
        problems=(404,),
    ),
)
