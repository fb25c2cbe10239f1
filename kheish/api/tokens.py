"""Tokens by HTTP: make, list, revoke. The text of one is in the answer that made it, and nowhere else."""

from __future__ import annotations

import asyncio
from typing import Annotated

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import bind, delete, get, post
from kheish.api.services import Services
from kheish.auth import tokens
from kheish.errors import Fault, Invalid


class CreateToken(Body):
    """A token for somebody, or something."""

    name: Name
    """Every change is attributed to it."""
    role: Annotated[str, Field(min_length=1, max_length=140, json_schema_extra={"pattern": tokens.ROLE_PATTERN})]
    """`admin`, `operator`, `approver`, `reader`, `ingress:<connector>`, `observer:<source>`."""
    person: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Who is behind it: approvals that need two persons count persons."""
    sessions: Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=100)] = []
    """The only sessions that it may see (`*` stands for anything); none: all."""
    expires: Annotated[str, Field(pattern=r"^\d+(\.\d+)?(ms|s|m|h|d|w)$")] | None = None
    """When it ends to count, such as `30d` from now; without it, never."""


class Token(Answer):
    """A token, without its text."""

    name: str
    role: str
    person: str | None
    sessions: list[str]
    created_at: str
    created_by: str
    expires_at: str | None


class NewToken(Token):
    """A token that was made now."""

    token: str
    """Its text, shown only here."""


class TokensResource:
    """`/v1/tokens` and what is below."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._saving = asyncio.Lock()

    async def list_tokens(self, req: Request, resp: Response) -> None:
        """A page of tokens, by name."""
        given = req.context.query
        after, limit = paging.place_of("t", given.get("cursor")), given.get("limit", paging.LIMIT)
        found = [one.view() for one in self._parts.tokens.list() if after is None or one.name > str(after)]
        cursor = paging.cursor_of("t", found[limit - 1]["name"]) if len(found) > limit else None
        media.send(resp, media.page(found[:limit], cursor))

    async def create_token(self, req: Request, resp: Response) -> None:
        """Make one (201)."""
        body = await media.read(req, CreateToken)
        state = self._parts.state
        asked = tokens.Token(
            name=body.name,
            role=body.role,
            person=body.person,
            sessions=tuple(body.sessions),
            created_at="",
            created_by=req.context.principal,
            expires_at=_end(state.clock(), body.expires),
        )
        made, text = tokens.create(state, self._parts.tokens, asked)
        n = state.n
        await self._save()
        media.send(resp, {**made.view(), "token": text}, status=201, n=n)

    async def revoke_token(self, req: Request, resp: Response, name: str) -> None:
        """Revoke one (204)."""
        tokens.revoke(self._parts.state, self._parts.tokens, name, by=req.context.principal)
        n = self._parts.state.n
        await self._save()
        resp.status = 204
        resp.set_header(media.EVENT, str(n))

    async def _save(self) -> None:
        async with self._saving:  # the newest state is written last
            await asyncio.to_thread(tokens.save, self._parts.state.root, self._parts.tokens)
        await self._parts.state.durable()


def _end(now: float, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return ids.stamp(now + ids.duration(text))
    except (ValueError, OverflowError) as error:
        raise Invalid(f"expires: {error}.", errors=[Fault("/expires", str(error))]) from error


OPERATIONS = bind(
    TokensResource,
    get(
        "/v1/tokens",
        TokensResource.list_tokens,
        "Tokens by name, without their text.",
        Token,
        *paging.PAGE,
        page=True,
    ),
    post(
        "/v1/tokens",
        TokensResource.create_token,
        "Make a token; its text is in this answer only.",
        CreateToken,
        NewToken,
        good=(201,),
        problems=(409,),
    ),
    delete("/v1/tokens/{name}", TokensResource.revoke_token, "Let a token count no more.", problems=(404, 409)),
)
