"""Sources and observations by HTTP: the files with their state, tokens, uploads, lists, contents, materialization."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, get_args

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import definitions
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.observations import materializing, uploads, views
from kheish.api.observations.views import ObservationView
from kheish.api.services import Services
from kheish.auth import source_tokens, tokens
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import ObservationKind, frozen
from kheish.domain.observations import observation as observations
from kheish.domain.observations.source import OBSERVATIONS
from kheish.domain.shown import View
from kheish.errors import Fault, Invalid, NotFound
from kheish.runtime.assets import types
from kheish.store.log.pages import cursor_before

KIND = KINDS["sources"]
GRACE = "1h"
_KINDS: tuple[str, ...] = get_args(ObservationKind)
UPLOAD = (
    Param(name="kind", kind="choice", choices=_KINDS, about="Of raw bytes: the kind of the observation."),
    Param(name="captured_at", about="Of raw bytes: the time of their capture."),
    Param(name="stream", about="Of raw bytes: their stream."),
    Param(name="sequence", kind="count", least=0, most=2**53, about="Of raw bytes: their number in the stream."),
    Param(name="group", about="Of raw bytes: their group."),
)
LIST = (
    *paging.PAGE,
    paging.choices("kind", _KINDS),
    paging.text("stream"),
    paging.text("group"),
    Param(name="state", kind="choice", choices=("retained", "purged"), about="Only those in this state."),
)


@frozen
class SourceToken(View):
    """The upload token of a source, without its text."""

    shown_as = "SourceToken"
    created_at: str
    created_by: str
    previous_until: str | None
    """The end of the token before it, during its grace time."""


@frozen
class SourceDetailsView(DefinitionView):
    """A source: the fields of its file, and the following."""

    of_now = True

    received: int
    """The observations that it sent."""
    retained: int
    """Those that keep their contents."""
    bytes: int
    """The size of these contents."""
    last_received_at: str | None
    token: SourceToken | None
    """Its own token; null if it has none."""


class RotateSourceToken(Body):
    """A request for a new upload token of a source."""

    grace: Annotated[str, Field(max_length=20)] = GRACE
    """The time for which the token before it is still valid; `0s`: none."""


class NewSourceToken(Answer):
    """The new upload token of a source."""

    source: str
    name: str
    """The name to which its uploads are attributed."""
    role: str
    token: str
    """Its text, shown only here."""
    previous_until: str | None
    """The end of the token before it."""


class ReceivedObservations(Answer):
    """Observations that were stored."""

    items: list[ObservationView]
    duplicate: bool
    """Whether the same key stored them before."""


class SourceFiles(Definitions):
    """The files, each with the state of its source."""

    added = ("received", "retained", "bytes", "last_received_at", "token")

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        keeper = self._services.observations.keeper
        rows = []
        for one in found:
            source = await keeper.source(one.id)
            rows.append(
                {
                    "received": source.received,
                    "retained": source.retained,
                    "bytes": source.bytes,
                    "last_received_at": source.last_received_at,
                    "token": source_tokens.view(self._services.tokens, one.id),
                }
            )
        return rows


class Sources:
    """The resource of the paths below `/v1/sources/{id}`, and of `/v1/observations`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state
        self._service = services.observations

    async def rotate_source_token(self, req: Request, resp: Response, id: str) -> None:
        """Create the source's token; the one before it stays valid for the grace time."""
        body = await media.read(req, RotateSourceToken)
        try:
            grace = ids.duration(body.grace)
        except ValueError as error:
            raise Invalid(f"grace: {error}.", errors=[Fault("/grace", str(error))]) from error
        self._service.keeper.file(ids.check_slug(id, "id"))
        known = self._services.tokens
        made, text = source_tokens.rotate(self._state, known, id, grace, by=req.context.principal)
        n = self._state.n
        await tokens.keep(self._state, known)
        until = (source_tokens.view(known, id) or {}).get("previous_until")
        shown = {"source": id, "name": made.name, "role": made.role, "token": text, "previous_until": until}
        media.send(resp, shown, n=n)

    async def revoke_source_token(self, req: Request, resp: Response, id: str) -> None:
        """Revoke the source's tokens at once (204); also those of a source that was removed."""
        await media.read(req, Body)
        source_tokens.revoke(
            self._state, self._services.tokens, ids.check_slug(id, "id"), by=req.context.principal
        )  # fmt: skip
        n = self._state.n
        await tokens.keep(self._state, self._services.tokens)
        resp.status = 204
        resp.set_header(media.EVENT, str(n))

    async def create_observations(self, req: Request, resp: Response, id: str) -> None:
        """Store observations (201); the same key returns the earlier ones (200)."""
        keeper = self._service.keeper
        given, request = await uploads.read(req, keeper, ids.check_slug(id, "id"))
        found, is_duplicate = await keeper.receive(id, given, by=req.context.principal, request=request)
        n = found[-1].n if found else self._state.n
        items = await views.shown(self._state, self._service, found, cut=views.CUT)
        status = 200 if is_duplicate else 201
        media.send(resp, {"items": items, "duplicate": is_duplicate}, status=status, n=n)

    async def list_observations(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of a source's observations, newest first."""
        given = req.context.query
        is_known = ids.check_slug(id, "id") in self._state.definitions.by_kind[KIND.name]
        if not is_known and not (await self._service.keeper.source(id)).received:
            raise NotFound(f"There is no source {id!r}.")
        await self._state.durable()
        await self._state.caught_up()
        source, wanted = await self._service.keeper.source(id), given.get("state")
        cursor = given.get("cursor")
        if wanted == "purged" and cursor is None:
            cursor = await asyncio.to_thread(self._cursor_of_purged, id, source.purged)
        page = await asyncio.to_thread(
            self._state.index.things,
            "observation",
            limit=given.get("limit", paging.LIMIT),
            cursor=cursor,
            session=f"{OBSERVATIONS}/{id}",
            statuses=given.get("kind", ()),
            fields={name: given[name] for name in ("stream", "group") if name in given},
        )
        found = [observations.read(doc) for doc in page.items]
        kept = [one for one in found if wanted != "retained" or observations.is_retained(one, source)]
        following = page.next_cursor if len(kept) == len(found) else None
        media.send(resp, media.page(await views.shown(self._state, self._service, kept, cut=views.CUT), following))

    def _cursor_of_purged(self, id: str, purged: int) -> str:
        """Return the cursor of a source's newest observation that is purged. Blocks on disk."""
        place = {"place": observations.place(id, purged)}
        found = self._state.index.things("observation", limit=1, fields=place).items
        return cursor_before(found[0]["made"] + 1 if found else 0)

    async def get_observation(self, req: Request, resp: Response, observation_id: str) -> None:
        """Answer with one observation."""
        found = await self._service.keeper.get(observation_id)
        await self._state.durable()
        await self._state.caught_up()
        media.send(resp, (await views.shown(self._state, self._service, [found], cut=None))[0])

    async def get_observation_raw(self, req: Request, resp: Response, observation_id: str) -> None:
        """Answer with the content as it came, as a file to save."""
        found = await self._service.keeper.get(observation_id)
        content = await self._service.keeper.raw(found)
        if content is None:
            raise NotFound(f"The content of {observation_id} is purged.")
        resp.data, kind = content
        resp.content_type = f"{kind}; charset=utf-8" if types.is_text(kind) else kind
        resp.set_header("Content-Disposition", f"attachment; filename={observation_id}")
        resp.set_header("Content-Security-Policy", "default-src 'none'; sandbox")
        resp.set_header("Cache-Control", "private, no-store")

    async def materialize_observations(self, req: Request, resp: Response) -> None:
        """Start a run or a Flow with observations (202)."""
        await materializing.materialize(self._services, req, resp)


ONE = "/v1/sources/{id}"
SEEN = "/v1/observations"
OPERATIONS = (
    *definitions.operations(KIND, SourceFiles, SourceDetailsView),
    *bind(
        Sources,
        post(f"{ONE}/rotate-token", Sources.rotate_source_token, "Create the upload token of a source.",
             RotateSourceToken, NewSourceToken, problems=(404,)),
        post(f"{ONE}/revoke-token", Sources.revoke_source_token, "Revoke the upload tokens of a source.",
             Body, None, good=(204,), problems=(404,)),
        post(f"{ONE}/observations", Sources.create_observations,
             "Store observations (201); the same key returns the earlier ones (200).", uploads.StoreObservations,
             ReceivedObservations, *UPLOAD, good=(201, 200), problems=(404, 409), key=True),
        get(f"{ONE}/observations", Sources.list_observations, "List the observations of a source, newest first.",
            ObservationView, *LIST, page=True, problems=(404,)),
        post(f"{SEEN}/materialize", Sources.materialize_observations, "Start a run or a Flow with observations.",
             materializing.MaterializeObservations, materializing.Materialized, good=(202,), problems=(404, 409),
             key=True),
        get(f"{SEEN}/{{observation_id}}", Sources.get_observation, "Get one observation.", ObservationView,
            problems=(404,)),
        get(f"{SEEN}/{{observation_id}}/raw", Sources.get_observation_raw, "Get the content of an observation.", None,
            media="application/octet-stream", or_media="*/*", problems=(404,)),
    ),
)  # fmt: skip
