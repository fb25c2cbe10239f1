"""Proposals of memory by HTTP: list, show, decide."""

from __future__ import annotations

from typing import Literal

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.http.bodies import Body, Reason
from kheish.api.http.operation import bind, get, post
from kheish.api.services import Services
from kheish.domain.memory.proposals import MemoryProposalView, Proposal
from kheish.runtime.memory import proposals

LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", ("pending", "accepted", "rejected")),
    paging.text("place", "Only proposals for this folder: `memory/shared`."),
)


class DecideProposal(Body):
    """A decision on a proposal."""

    decision: Literal["accept", "reject"]
    """accept makes the change on behalf of the caller."""
    reason: Reason | None = None
    """The reason, for the journal."""


class Proposals:
    """The resource of `/v1/memory/proposals` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._state = services.state
        self._keeper = services.memory.keeper

    async def list_proposals(self, req: Request, resp: Response) -> None:
        """Answer with a page of proposals, newest first."""
        media.send(resp, await views.listed(self._state, Proposal, req.context.query))

    async def get_proposal(self, req: Request, resp: Response, proposal_id: str) -> None:
        """Answer with one proposal, with its whole content."""
        media.send(resp, await views.document(self._state, Proposal, proposal_id))

    async def decide_proposal(self, req: Request, resp: Response, proposal_id: str) -> None:
        """Accept or reject. Raises ProposalDecided with the earlier decision, MemoryChanged with both versions."""
        body = await media.read(req, DecideProposal)
        await proposals.decide(
            self._keeper, proposal_id, body.decision, by=req.context.principal, via="api", reason=body.reason
        )
        n = self._state.durable_n
        media.send(resp, await views.document(self._state, Proposal, proposal_id), n=n)


ONE = "/v1/memory/proposals/{proposal_id}"
OPERATIONS = bind(
    Proposals,
    get(
        "/v1/memory/proposals",
        Proposals.list_proposals,
        "List changes of memory that agents proposed, newest first.",
        MemoryProposalView,
        *LIST,
        page=True,
        tie="query",
    ),
    get(ONE, Proposals.get_proposal, "Get one proposal.", MemoryProposalView, problems=(404,)),
    post(
        f"{ONE}/decide",
        Proposals.decide_proposal,
        "Accept or reject a proposal.",
        DecideProposal,
        MemoryProposalView,
        problems=(404, 409),
    ),
)
