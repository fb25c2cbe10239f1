"""Approvals by HTTP: list, show, resolve one or several."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api import at_revision, models, views
from kheish.api.http import media, paging
from kheish.api.services import Services
from kheish.api.views import Doc
from kheish.domain import approvals, keys
from kheish.domain.approvals import Approval, Bound
from kheish.domain.events import Idempotency
from kheish.domain.keys import KeyUse, key_id
from kheish.errors import Fault, Invalid

FIELDS = ("run_id", "tool", "risk")
LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", ("pending", "allowed", "denied", "expired", "cancelled")),
    *(paging.text(name) for name in FIELDS),
    paging.PREFIX,
)


class Approvals:
    """`/v1/approvals` and what is below."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._state = parts.state

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of approvals, newest first."""
        media.send(resp, await views.listed(self._state, Approval, req.context.query, FIELDS))

    async def on_get_one(self, req: Request, resp: Response, approval_id: str) -> None:
        """One approval, now or as a commit has it (`?at=`)."""
        if (rev := req.context.query.get("at")) is not None:
            return media.send(resp, await at_revision.document(self._parts, resp, Approval, approval_id, rev))
        return media.send(resp, await views.document(self._state, Approval, approval_id))

    async def on_post_resolve(self, req: Request, resp: Response, approval_id: str) -> None:
        """Allow or deny. Raises ApprovalResolved, with who decided, where somebody was faster."""
        body = await media.read(req, models.ResolveApproval)
        key = media.idempotency(req, body, f"approvals/{approval_id}/resolve")
        if key is not None:
            await self._state.recall(KeyUse, key_id(key.scope, key.key))
            if keys.earlier(self._state, key):
                return media.send(resp, await views.document(self._state, Approval, approval_id))
        await self._pending(approval_id)
        bound = await self._bound(approval_id, body)
        await self._pending(approval_id)  # what took time may have let another answer in, or the session go
        wanted = _resolution(req, approval_id, body, bound, key)
        [approval] = approvals.resolve_many(self._state, [wanted])
        doc, n = views.of(self._state, approval), self._state.n
        await self._state.durable()
        return media.send(resp, (await views.expand(self._state, [doc]))[0], n=n)

    async def on_post_resolve_many(self, req: Request, resp: Response) -> None:
        """Resolve several: all of them, or where one is refused, none."""
        each = (await media.read(req, models.ResolveApprovals)).each()
        _refuse_twice([one.approval_id for one in each])
        for number, one in enumerate(each):
            if one.idempotency_key is not None:
                raise Invalid("Several at once take no idempotency keys of their own.")
            if one.arguments is not None and one.decision == "deny":
                raise Invalid(
                    "Edited arguments go with allow.", errors=[Fault(f"/items/{number}/arguments", "on deny")]
                )
        bounds = []
        for one in each:
            await self._pending(one.approval_id)
            bounds.append(await self._bound(one.approval_id, one))
        for one in each:
            await self._pending(one.approval_id)
        wanted = [_resolution(req, one.approval_id, one, bound, None) for one, bound in zip(each, bounds, strict=True)]
        done = approvals.resolve_many(self._state, wanted)
        docs, n = [views.of(self._state, approval) for approval in done], self._state.n
        await self._state.durable()
        media.send(resp, media.page(await views.expand(self._state, docs)), n=n)

    async def _pending(self, approval_id: str) -> None:
        """Have it in memory, and pending. Raises NotFound, ApprovalResolved."""
        old: Doc | None = await self._state.load_for(Approval, approval_id)
        if old is not None:
            raise approvals.late(old)
        approval = self._state.get(Approval, approval_id)
        if approval.status != "pending":
            raise approvals.late(approvals.view(approval))

    async def _bound(self, approval_id: str, body: models.ResolveApproval) -> Bound | None:
        if body.arguments is None:
            return None
        return await self._parts.inspector.bound(self._state.get(Approval, approval_id), body.arguments)


def _resolution(
    req: Request, approval_id: str, body: models.ResolveApproval, bound: Bound | None, key: Idempotency | None
) -> approvals.Resolution:
    """What a caller decided, with the person whom the caller's token proves."""
    return approvals.Resolution(
        approval_id=approval_id,
        decision=body.decision,
        by=req.context.principal,
        person=req.context.caller.person,
        via="api",
        reason=body.reason,
        arguments=body.arguments,
        bound=bound,
        remember=body.remember,
        idempotency=key,
    )


def _refuse_twice(ids: list[str]) -> None:
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise Invalid(
            f"Named more than once: {', '.join(twice)}.", errors=[Fault("/items", f"{twice[0]!r} is repeated")]
        )
