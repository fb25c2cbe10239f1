"""Access to credentials by HTTP: grants, leases, subjects and revocation. No answer holds a value."""

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
    """A request to revoke access."""

    what: Literal["subject", "slot", "lease", "account"]
    id: Annotated[str, Field(min_length=1, max_length=200)]
    """`session:fix-it`, `agent:agent_01…`; the name of a slot or an account, or `env:NAME`; the id of a lease."""
    reason: Reason | None = None
    """The reason, for the journal."""


class Restore(Body):
    """A request to restore access."""

    what: Literal["subject", "slot", "account"]
    id: Annotated[str, Field(min_length=1, max_length=200)]


class Revoked(Answer):
    """The result of a revocation."""

    what: str
    id: str
    revoked: bool
    leases: list[str]
    """The leases that ended with it."""


class Grant(Answer):
    """A slot that a Definition refers to."""

    grant_id: str
    audience: str
    slot: str
    status: Literal["ready", "not_ready"]
    reason: str | None


class Account(Answer):
    """A provider account that the daemon can use."""

    account_id: str
    kind: Literal["api_key", "oauth"]
    slot: str
    audiences: list[str]
    """Its uses, by the Definitions in force: `route:main`."""
    status: Literal["ready", "not_ready"]
    reason: str | None
    issuer: str | None
    """The authorization server of an OAuth login, to which its tokens are bound."""
    expires_at: str | None
    """The end of its access token, which is renewed when it is used."""


class Lease(Answer):
    """A short-lived permission that is in use now."""

    lease_id: str
    subject: str
    slot: str
    audience: str
    made_at: str
    expires_at: str


class Subject(Answer):
    """An acting subject, and the access that it holds."""

    subject: str
    revoked: bool
    leases: list[Lease]


class Access:
    """The resource of `/v1/auth` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._broker = services.broker
        self._state = services.state

    async def list_grants(self, req: Request, resp: Response) -> None:
        """List the slots and their permitted uses."""
        media.send(resp, media.page(self._broker.grants()))

    async def list_accounts(self, req: Request, resp: Response) -> None:
        """List the provider accounts: slots of the vault, and variables that routes name."""
        media.send(resp, media.page(self._broker.accounts()))

    async def list_leases(self, req: Request, resp: Response) -> None:
        """List the leases in use."""
        media.send(resp, media.page(self._broker.leases()))

    async def get_subject(self, req: Request, resp: Response, subject: str) -> None:
        """Answer with the access that a subject holds."""
        media.send(resp, self._broker.subject(subject))

    async def revoke(self, req: Request, resp: Response) -> None:
        """End leases and the work in flight under them, and refuse new ones."""
        body = await media.read(req, Revoke)
        await self._revoke(req, resp, body.what, body.id, body.reason)

    async def revoke_subject(self, req: Request, resp: Response, subject: str) -> None:
        """Revoke the access of one subject."""
        await self._revoke(req, resp, "subject", subject, (await media.read(req, Because)).reason)

    async def revoke_lease(self, req: Request, resp: Response, lease: str) -> None:
        """End one lease and the work in flight under it. Raises NotFound."""
        await self._revoke(req, resp, "lease", lease, (await media.read(req, Because)).reason)

    async def restore_access(self, req: Request, resp: Response) -> None:
        """Undo a revocation. Raises NotFound."""
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
    get("/v1/auth/accounts", Access.list_accounts, "List provider accounts and their uses.", Account, page=True),
    get("/v1/auth/grants", Access.list_grants, "List slots and their permitted uses.", Grant, page=True),
    get("/v1/auth/leases", Access.list_leases, "List leases in use, oldest first.", Lease, page=True),
    get(SUBJECT, Access.get_subject, "Get the access that a subject holds.", Subject),
    post(
        f"{SUBJECT}/revoke",
        Access.revoke_subject,
        "Revoke the access of a subject: it gets no new lease.",
        Because,
        Revoked,
    ),
    post(
        "/v1/auth/leases/{lease}/revoke",
        Access.revoke_lease,
        "End one lease and the work in flight under it.",
        Because,
        Revoked,
        problems=(404,),
    ),
    post(
        "/v1/auth/revoke",
        Access.revoke,
        "End leases and the work in flight under them, and refuse new ones.",
        Revoke,
        Revoked,
        problems=(404,),
    ),
    post(
        "/v1/auth/restore",
        Access.restore_access,
        "Undo a revocation.",
        Restore,
        Revoked,
        problems=(404,),
    ),
)
