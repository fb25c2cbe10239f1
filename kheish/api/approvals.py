"""Approvals by HTTP: list, show, resolve one or several."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field, model_validator

from kheish.api import at_revision, views
from kheish.api.http import media, paging
from kheish.api.http.bodies import Body, Key, Name, Reason
from kheish.api.http.operation import bind, get, post
from kheish.api.mcp import answers as mcp_answers
from kheish.api.services import Services
from kheish.api.views import Doc
from kheish.domain import approvals, keys
from kheish.domain.approvals import Approval, ApprovalView, Bound
from kheish.errors import Fault, Invalid
from kheish.state import pins

LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", ("pending", "allowed", "denied", "expired", "cancelled")),
    *(paging.text(name) for name in approvals.NOUN.filters),
    paging.PREFIX,
)


class ResolveApproval(Body):
    """A decision on an approval."""

    decision: Literal["allow", "deny"]
    """The decision."""
    reason: Reason | None = None
    """The reason; on deny, the model receives it."""
    arguments: dict[str, Any] | None = None
    """Other arguments for the call, with allow."""
    remember: Literal["exact", "pattern"] | None = None
    """Add a rule for the session, so that the agent need not ask again."""
    via: mcp_answers.Via | None = None
    """`mcp` for an answer that an MCP client brings: it identifies no person, so it never counts where several must
    allow a call. `mcp_tool`: an MCP client's tool answers, which `mcp.approvals` of kheish.yaml must permit."""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same answer. It may also be sent as the header Idempotency-Key."""


class ResolveOne(ResolveApproval):
    """A decision on one of several approvals."""

    approval_id: Name
    """The approval's id."""


class ResolveApprovals(Body):
    """Decisions on several approvals, all or none: `items`, or `approval_ids` with one decision for all."""

    items: Annotated[list[ResolveOne], Field(min_length=1, max_length=200)] | None = None
    """Approvals with individual decisions."""
    approval_ids: Annotated[list[Name], Field(min_length=1, max_length=200)] | None = None
    """The ids of the approvals."""
    decision: Literal["allow", "deny"] | None = None
    """The decision on all of `approval_ids`."""
    reason: Reason | None = None
    """The reason."""

    @model_validator(mode="after")
    def _one_form(self) -> ResolveApprovals:
        if (self.items is None) == (self.approval_ids is None):
            raise ValueError("send either items, or approval_ids with a decision")
        if (self.approval_ids is None) != (self.decision is None):
            raise ValueError("approval_ids and decision go together; items have decisions of their own")
        return self

    def each(self) -> list[ResolveOne]:
        """Return a decision for each approval."""
        if self.items is not None:
            return self.items
        assert self.decision is not None
        return [
            ResolveOne(approval_id=id, decision=self.decision, reason=self.reason) for id in self.approval_ids or ()
        ]


class Approvals:
    """The resource of `/v1/approvals` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def list_approvals(self, req: Request, resp: Response) -> None:
        """Answer with a page of approvals, newest first."""
        media.send(resp, await views.listed(self._state, Approval, req.context.query))

    async def get_approval(self, req: Request, resp: Response, approval_id: str) -> None:
        """Answer with one approval, now or as of a commit (`?at=`)."""
        if (rev := req.context.query.get("at")) is not None:
            return media.send(resp, await at_revision.document(self._services, resp, Approval, approval_id, rev))
        return media.send(resp, await views.document(self._state, Approval, approval_id))

    async def resolve_approval(self, req: Request, resp: Response, approval_id: str) -> None:
        """Allow or deny. Raises ApprovalResolved with the earlier decision and its author."""
        body = await media.read(req, ResolveApproval)
        mcp_answers.check(self._services, body.via)
        key = await keys.known(self._state, media.idempotency(req, body, f"approvals/{approval_id}/resolve"))
        if key is not None and key.result is not None:
            return media.send(resp, await views.document(self._state, Approval, approval_id))
        async with pins.thing(self._state, Approval, approval_id):
            bound = await self._bind_edited(approval_id, body)
            resolution = _resolution(req, approval_id, body, bound, key)
            [approval] = approvals.resolve_many(self._state, [resolution])
            doc, n = views.of(self._state, approval), self._state.n
        await self._state.durable()
        return media.send(resp, (await views.expand(self._state, [doc]))[0], n=n)

    async def resolve_approvals(self, req: Request, resp: Response) -> None:
        """Resolve several approvals: all of them, or none if one is refused."""
        each = (await media.read(req, ResolveApprovals)).each()
        _refuse_twice([one.approval_id for one in each])
        for number, one in enumerate(each):
            mcp_answers.check(self._services, one.via)
            if one.idempotency_key is not None:
                raise Invalid("In a request for several approvals, items cannot have idempotency keys.")
            if one.arguments is not None and one.decision == "deny":
                raise Invalid(
                    "Edited arguments require allow.", errors=[Fault(f"/items/{number}/arguments", "on deny")]
                )
        async with AsyncExitStack() as used:
            resolutions = []
            for one in each:
                await used.enter_async_context(pins.thing(self._state, Approval, one.approval_id))
                bound = await self._bind_edited(one.approval_id, one)
                resolutions.append(_resolution(req, one.approval_id, one, bound, None))
            for one in each:
                await self._check_pending(one.approval_id)
            done = approvals.resolve_many(self._state, resolutions)
            docs, n = [views.of(self._state, approval) for approval in done], self._state.n
        await self._state.durable()
        media.send(resp, media.page(await views.expand(self._state, docs)), n=n)

    async def _check_pending(self, approval_id: str) -> None:
        """Raise ApprovalResolved if it is no longer pending."""
        doc: Doc | None = await self._state.recall(Approval, approval_id)
        if doc is not None and doc["status"] != "pending":
            raise approvals.late(doc)

    async def _bind_edited(self, approval_id: str, body: ResolveApproval) -> Bound | None:
        """Return the binding of edited arguments. The approval is checked to be pending before and after."""
        await self._check_pending(approval_id)
        if body.arguments is None:
            return None
        bound = await self._services.inspector.bound(self._state.get(Approval, approval_id), body.arguments)
        await self._check_pending(approval_id)  # the approval may have been resolved during the await
        return bound


def _resolution(
    req: Request, approval_id: str, body: ResolveApproval, bound: Bound | None, key: keys.Key | None
) -> approvals.Resolution:
    """Return the caller's decision, with the person whom the caller's token proves."""
    return approvals.Resolution(
        approval_id=approval_id,
        decision=body.decision,
        by=req.context.principal,
        person=mcp_answers.person(req.context.caller, body.via),
        via=body.via or "api",
        reason=body.reason,
        arguments=body.arguments,
        bound=bound,
        remember=body.remember,
        key=key,
    )


def _refuse_twice(ids: list[str]) -> None:
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise Invalid(
            f"Named more than once: {', '.join(twice)}.", errors=[Fault("/items", f"{twice[0]!r} is repeated")]
        )


ONE = "/v1/approvals/{approval_id}"
OPERATIONS = bind(
    Approvals,
    get(
        "/v1/approvals",
        Approvals.list_approvals,
        "List approvals, newest first.",
        ApprovalView,
        *LIST,
        page=True,
        tie="query",
    ),
    get(
        ONE,
        Approvals.get_approval,
        "Get one approval, now or as of a commit.",
        ApprovalView,
        at_revision.AT,
        problems=(404,),
        tie=Approval,
    ),
    post(
        f"{ONE}/resolve",
        Approvals.resolve_approval,
        "Allow or deny an approval.",
        ResolveApproval,
        ApprovalView,
        problems=(404, 409),
        key=True,
        tie=Approval,
    ),
    post(
        "/v1/approvals/resolve",
        Approvals.resolve_approvals,
        "Resolve several approvals: all of them, or none.",
        ResolveApprovals,
        ApprovalView,
        page=True,
        problems=(404, 409),
    ),
)
