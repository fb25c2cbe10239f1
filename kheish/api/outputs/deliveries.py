"""Deliveries by HTTP: list, get, replay one or many, resolve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Name
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.api.views import Doc
from kheish.domain.deliveries import verbs
from kheish.domain.deliveries.delivery import STUCK, Delivery, DeliveryState, DeliveryView
from kheish.domain.outputs import targets
from kheish.errors import DeliveryStateConflict, Forbidden, Invalid, NotFound
from kheish.state import pins

#: deliveries that one request replays
MOST = 1000
LIST = (
    *paging.PAGE,
    paging.choices("state", DeliveryState),
    *paging.SESSION,
    Param(name="run_id", about="Only deliveries of this run."),
    Param(name="output_id", about="Only deliveries of this output."),
    Param(name="output", about="Only deliveries to the output or connector with this name."),
)
_STATES = tuple(str(state) for state in sorted(STUCK))


class ReplayDelivery(Body):
    """A request to send a dead letter, or a held delivery, again."""

    dry_run: bool = False
    """Only report whether it would be sent."""


class ReplayDeliveries(Body):
    """A request to send several deliveries again: all that fit, the oldest last, 1000 at most."""

    state: Literal["dead_letter", "held"] = "dead_letter"
    """The state of the deliveries."""
    output: Name | None = None
    """Only those to the output or connector with this name."""
    session: Name | None = None
    """Only those of this session."""
    dry_run: bool = False
    """Only report which would be sent."""


class ResolveDelivery(Body):
    """A request to settle a dead letter, or a held delivery, without sending it."""

    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    """The reason, for the journal."""


class ReplayedDelivery(Answer):
    """A delivery that is sent again, or the reason why it is not."""

    delivery_id: str
    session_id: str
    output: str
    reason: str | None
    """The reason why it is not sent; null if it is."""


class ReplayedDeliveries(Answer):
    """The outcome of a replay."""

    dry_run: bool
    replayed: int
    """The number that is sent, or would be."""
    refused: int
    items: list[ReplayedDelivery]
    more: bool
    """Whether there are further deliveries that fit."""


class Deliveries:
    """The resource of `/v1/deliveries` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._state = services.state

    async def list_deliveries(self, req: Request, resp: Response) -> None:
        """Answer with a page of deliveries, newest first."""
        given = req.context.query
        media.send(resp, await views.listed(self._state, Delivery, {**given, "status": given.get("state", ())}))

    async def get_delivery(self, req: Request, resp: Response, delivery_id: str) -> None:
        """Answer with one delivery."""
        media.send(resp, await views.document(self._state, Delivery, delivery_id))

    async def replay_delivery(self, req: Request, resp: Response, delivery_id: str) -> None:
        """Send a dead letter, or a held delivery, again (202)."""
        body = await media.read(req, ReplayDelivery)
        async with pins.thing(self._state, Delivery, delivery_id):
            doc = await views.document(self._state, Delivery, delivery_id)
            draft = verbs.replay(self._state, doc, by=req.context.principal)
            if (why := await self._obstacle(doc)) is not None:
                raise DeliveryStateConflict(f"The delivery {delivery_id} cannot be sent: {why}.")
            if body.dry_run:
                media.send(resp, doc)
                return
            self._state.append(draft)
            n = self._state.n
            await self._state.durable()
            media.send(resp, await views.document(self._state, Delivery, delivery_id), status=202, n=n)

    async def replay_deliveries(self, req: Request, resp: Response) -> None:
        """Send all dead letters, or held deliveries, again that fit (202)."""
        body = await media.read(req, ReplayDeliveries)
        caller = req.context.caller
        if caller.limits and (body.session is None or not caller.may_see(body.session)):
            raise Forbidden(
                "A token with a filter of sessions replays the deliveries of one of them: name the session."
            )
        given = {"status": (body.state,), "limit": MOST, "output": body.output, "session": body.session}
        page = await views.listed(self._state, Delivery, {key: one for key, one in given.items() if one is not None})
        items = [await self._replay(doc, req.context.principal, dry=body.dry_run) for doc in page["items"]]
        n = self._state.n
        await self._state.durable()
        refused = sum(item["reason"] is not None for item in items)
        answer = {
            "dry_run": body.dry_run,
            "replayed": len(items) - refused,
            "refused": refused,
            "items": items,
            "more": page["next_cursor"] is not None,
        }
        media.send(resp, answer, status=200 if body.dry_run else 202, n=n)

    async def resolve_delivery(self, req: Request, resp: Response, delivery_id: str) -> None:
        """Settle a dead letter, or a held delivery, without sending it."""
        body = await media.read(req, ResolveDelivery)
        if not body.reason.strip():
            raise Invalid("A reason is needed: it is what readers of the journal see later.")
        async with pins.thing(self._state, Delivery, delivery_id):
            doc = await views.document(self._state, Delivery, delivery_id)
            self._state.append(verbs.resolve(self._state, doc, body.reason, by=req.context.principal))
            n = self._state.n
            await self._state.durable()
            media.send(resp, await views.document(self._state, Delivery, delivery_id), n=n)

    async def _replay(self, doc: Doc, by: str, *, dry: bool) -> dict[str, Any]:
        reason = await self._obstacle(doc)
        if reason is None:
            try:
                async with self._state.using(doc["session_id"]):
                    draft = verbs.replay(self._state, doc, by=by)
                    if not dry:
                        self._state.append(draft)
            except (DeliveryStateConflict, NotFound) as error:
                reason = error.detail
        named = {name: doc[name] for name in ("delivery_id", "session_id")}
        return {**named, "output": doc["target"].get("output"), "reason": reason}

    async def _obstacle(self, doc: Mapping[str, Any]) -> str | None:
        """Return the reason why a delivery would become a dead letter at once, or None."""
        target = doc["target"]
        faults = targets.faults(self._state.definitions, [target], self._state.slots)
        if faults:
            return "; ".join(fault.message for fault in faults)
        name = str(target["output"])
        why = await verbs.off(self._state, name)
        return f"the output {name} is switched off ({why}): kheish outputs enable {name}" if why is not None else None


ALL = "/v1/deliveries"
ONE = f"{ALL}/{{delivery_id}}"
OPERATIONS = bind(
    Deliveries,
    get(ALL, Deliveries.list_deliveries, "List deliveries, newest first.", DeliveryView, *LIST, page=True, tie="query"),
    get(ONE, Deliveries.get_delivery, "Get one delivery.", DeliveryView, problems=(404,), tie=Delivery),
    post(
        f"{ALL}/replay",
        Deliveries.replay_deliveries,
        "Send dead letters, or held deliveries, again: all that fit.",
        ReplayDeliveries,
        ReplayedDeliveries,
        good=(202, 200),
        tie="none",
    ),
    post(
        f"{ONE}/replay",
        Deliveries.replay_delivery,
        "Send a dead letter, or a held delivery, again.",
        ReplayDelivery,
        DeliveryView,
        good=(202, 200),
        problems=(404, 409),
        tie=Delivery,
    ),
    post(
        f"{ONE}/resolve",
        Deliveries.resolve_delivery,
        "Settle a dead letter, or a held delivery, without sending it.",
        ResolveDelivery,
        DeliveryView,
        problems=(404, 409),
        tie=Delivery,
    ),
)
