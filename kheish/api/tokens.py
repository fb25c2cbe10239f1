"""Tokens by HTTP: create, list, revoke. Only the answer to its creation has the text of a token."""

from __future__ import annotations

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
    """A request to create a token for a person or a program."""

    name: Name
    """The name to which its changes are attributed."""
    role: Annotated[str, Field(min_length=1, max_length=140, json_schema_extra={"pattern": tokens.ROLE_PATTERN})]
    """`admin`, `operator`, `approver`, `reader`, `ingress:<connector>`, `observer:<source>`."""
    person: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The person behind it: approvals that need two persons count persons."""
    sessions: Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=100)] = []
    """The only sessions that it may see (`*` matches anything); none: all."""
    projects: Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=100)] = []
    """The only projects that it may see, with their sessions (`*` matches anything); none: no such limit."""
    expires: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d|w)$")] | None = None
    """The end of its validity, such as `30d` from now; without it, unlimited."""


class Token(Answer):
    """A token, without its text."""

    name: str
    role: str
    person: str | None
    sessions: list[str]
    projects: list[str]
    created_at: str
    created_by: str
    expires_at: str | None


class NewToken(Token):
    """A new token."""

    token: str
    """Its text, shown only here."""


class TokensResource:
    """The resource of `/v1/tokens` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list_tokens(self, req: Request, resp: Response) -> None:
        """Answer with a page of tokens, by name."""
        given = req.context.query
        after, limit = paging.place_of("t", given.get("cursor")), given.get("limit", paging.LIMIT)
        rows = [one.view() for one in self._services.tokens.list() if after is None or one.name > str(after)]
        cursor = paging.cursor_of("t", rows[limit - 1]["name"]) if len(rows) > limit else None
        media.send(resp, media.page(rows[:limit], cursor))

    async def create_token(self, req: Request, resp: Response) -> None:
        """Create a token (201)."""
        body = await media.read(req, CreateToken)
        state = self._services.state
        asked = tokens.Token(
            name=body.name,
            role=body.role,
            person=body.person,
            sessions=tuple(body.sessions),
            projects=tuple(body.projects),
            created_at="",
            created_by=req.context.principal,
            expires_at=_end(state.clock(), body.expires),
        )
        made, text = tokens.create(state, self._services.tokens, asked)
        n = state.n
        await tokens.keep(self._services.state, self._services.tokens)
        media.send(resp, {**made.view(), "token": text}, status=201, n=n)

    async def revoke_token(self, req: Request, resp: Response, name: str) -> None:
        """Revoke a token (204)."""
        tokens.revoke(self._services.state, self._services.tokens, name, by=req.context.principal)
        n = self._services.state.n
        await tokens.keep(self._services.state, self._services.tokens)
        resp.status = 204
        resp.set_header(media.EVENT, str(n))


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
        "List tokens by name, without their text.",
        Token,
        *paging.PAGE,
        page=True,
    ),
    post(
        "/v1/tokens",
        TokensResource.create_token,
        "Create a token; only this response contains its text.",
        CreateToken,
        NewToken,
        good=(201,),
        problems=(409,),
    ),
    delete("/v1/tokens/{name}", TokensResource.revoke_token, "Revoke a token.", problems=(404, 409)),
)
