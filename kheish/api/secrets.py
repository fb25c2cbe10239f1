"""Secrets by HTTP: metadata out, values only in."""

from __future__ import annotations

from typing import Annotated, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, delete, get, post, put
from kheish.api.services import Services


class PutSecret(Body):
    """A value to keep."""

    value: Annotated[str, Field(min_length=1, max_length=8192, repr=False)]
    """The secret; it is encrypted at once, and no answer holds it."""
    description: Annotated[str, Field(max_length=500)] | None = None
    """A description for people; without it, the earlier description remains."""


class Secret(Answer):
    """A slot, without its value."""

    slot: str
    description: str | None
    version: int
    """The version of the value, from 1."""
    created_at: str
    value_at: str
    """The time at which the value was set."""
    updated_by: str
    recipients: list[str]
    """The recipients that can decrypt it; empty for a file that a person made."""
    digest: str
    """sha256 of the encrypted file."""
    status: Literal["ready", "unreadable"]
    reason: str | None
    """The reason why it is unreadable."""
    referenced_by: list[str]
    """The Definitions that need it."""


class Secrets:
    """The resource of `/v1/secrets` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list_secrets(self, req: Request, resp: Response) -> None:
        """Answer with a page of slots, by name."""
        given = req.context.query
        after, limit = paging.place_of("s", given.get("cursor")), given.get("limit", paging.LIMIT)
        rows = [one for one in self._services.secrets.view() if after is None or one["slot"] > str(after)]
        cursor = paging.cursor_of("s", rows[limit - 1]["slot"]) if len(rows) > limit else None
        media.send(resp, media.page(rows[:limit], cursor))

    async def get_secret(self, req: Request, resp: Response, slot: str) -> None:
        """Answer with one slot."""
        media.send(resp, self._services.secrets.show(ids.check_slug(slot, "slot")))

    async def put_secret(self, req: Request, resp: Response, slot: str) -> None:
        """Set (201) or rotate (200) a slot."""
        body = await media.read(req, PutSecret)
        made = await self._services.secrets.put(
            slot, body.value, body.description, media.sent_etag(req), by=req.context.principal
        )
        await self._services.broker.renewed(slot, by=req.context.principal)
        media.send(resp, self._services.secrets.show(slot), status=201 if made else 200, n=self._services.state.n)

    async def delete_secret(self, req: Request, resp: Response, slot: str) -> None:
        """Remove a slot (204). Raises SecretReferenced."""
        await self._services.secrets.remove(ids.check_slug(slot, "slot"), by=req.context.principal)
        resp.status = 204
        resp.set_header(media.EVENT, str(self._services.state.n))

    async def note_revealed_secret(self, req: Request, resp: Response, slot: str) -> None:
        """Record that a value was shown to a person on this machine; no answer holds it."""
        await media.read(req, Body)
        await self._services.secrets.revealed(ids.check_slug(slot, "slot"), by=req.context.principal)
        media.send(resp, self._services.secrets.show(slot), n=self._services.state.n)

    async def rekey_secrets(self, req: Request, resp: Response) -> None:
        """Re-encrypt all slots for secrets/recipients.txt."""
        await media.read(req, Body)
        media.send(
            resp, media.page(await self._services.secrets.rekey(by=req.context.principal)), n=self._services.state.n
        )


ONE = "/v1/secrets/{slot}"
OPERATIONS = bind(
    Secrets,
    get("/v1/secrets", Secrets.list_secrets, "List slots by name, without values.", Secret, *paging.PAGE, page=True),
    get(ONE, Secrets.get_secret, "Get one slot, without its value.", Secret, problems=(404,)),
    put(ONE, Secrets.put_secret, "Set (201) or rotate (200) a slot.", PutSecret, Secret, problems=(409, 412)),
    delete(ONE, Secrets.delete_secret, "Remove a slot.", problems=(404, 409)),
    post(
        f"{ONE}/revealed",
        Secrets.note_revealed_secret,
        "Record in the audit that a value was shown where the identity is (`kheish secrets reveal`).",
        None,
        Secret,
        problems=(404,),
    ),
    post(
        "/v1/secrets/rekey",
        Secrets.rekey_secrets,
        "Re-encrypt all slots for secrets/recipients.txt.",
        None,
        Secret,
        page=True,
        problems=(409,),
    ),
)
