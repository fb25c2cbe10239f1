"""Threads, turns and proposals of a channel by HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import views
from kheish.api.channels.messages import Text, author, known
from kheish.api.http import media, paging
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, get, patch, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.domain import keys
from kheish.domain.channels import arbitrate, posting, proposing, rooms, speaking, threads
from kheish.domain.channels.channel import CHANNELS, key_of
from kheish.domain.channels.posting import Wanted
from kheish.domain.channels.proposal import Proposal, ProposalView
from kheish.domain.channels.proposing import Wish
from kheish.domain.channels.thread import ACTIVE, Thread, ThreadView
from kheish.domain.channels.turn import Turn, TurnState, TurnView
from kheish.domain.events.channels import ProposalKind
from kheish.domain.mailboxes.letters import normal_time
from kheish.domain.shown import View, outward
from kheish.errors import NotFound
from kheish.state import encoding, pins

Doc = dict[str, Any]
_Id = Annotated[str, Field(min_length=1, max_length=128)]
_Word = Annotated[str, Field(min_length=1, max_length=threads.ABOUT_CHARACTERS)]
#: queued places that the first page of turns shows
QUEUED = 500
THREADS = (
    *paging.PAGE,
    paging.choices("status", threads.STATUSES),
    Param(
        name="about",
        about="Only threads about this first thing: `kind/id`, such as `incident/42`; a task of a project "
        "is `project_task/PROJECT/TASK`.",
    ),
)
TURNS = (*paging.PAGE, paging.choices("state", TurnState), paging.text("thread"))
PROPOSALS = (*paging.PAGE, paging.choices("state", ("open", "accepted", "dismissed", "expired")))


class Thing(Body):
    """A thing that a thread is about."""

    kind: _Word
    id: _Word


class ChangeThread(Body):
    """Changes of a thread; a field that is left out stays as it is."""

    status: Literal["open", "resolved", "closed"] | None = None
    about: Annotated[list[Thing], Field(max_length=threads.ABOUT)] | None = None
    """The things that it is about, in place of those before: of this daemon (`run`, `session`, `flow`, …; the id of a
    `project_task` is `PROJECT/TASK`), or of a kind of your own (`incident`)."""


class MakeProposal(Body):
    """A proposal. One with the key of an open proposal becomes part of it."""

    kind: ProposalKind
    """`topic`: something to talk about; `event`: something happened."""
    text: Annotated[str, Field(min_length=1, max_length=proposing.TEXT_CHARACTERS)]
    dedupe_key: Annotated[str, Field(min_length=1, max_length=proposing.KEY_CHARACTERS)]
    thread: _Id | None = None
    """The thread that it is for; without it, it begins one."""
    expires_at: Annotated[str, Field(max_length=64)] | None = None
    """Its end, an RFC 3339 time."""


class ResolveProposal(Body):
    """A decision on a proposal."""

    decision: Literal["accept", "dismiss"]
    """`accept`: it is posted as a message of yours, and opens turns."""
    text: Text | None = None
    """The message, in place of the proposal's text."""
    digest: Annotated[str, Field(max_length=64)] | None = None
    """The digest of the proposal that you were shown; another one is refused (409)."""


class Talk:
    """The resource of threads, turns and proposals below `/v1/channels/{id}`."""

    def __init__(self, services: Services) -> None:
        self._state = services.state

    # --- threads ------------------------------------------------------------------------------------------------------

    async def list_channel_threads(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of threads, newest first."""
        await known(self._state, id)
        given = req.context.query
        about = threads.check_thing(given["about"]) if "about" in given else None
        statuses, limit = given.get("status", ()), given.get("limit", paging.LIMIT)
        items: list[Doc] = []
        cursor = given.get("cursor")
        while True:  # threads with open turns are found whatever their status
            wanted = {**given, "limit": limit - len(items), "cursor": cursor}
            page = await self._page(ThreadView, "channel_thread", id, wanted, {"about_keys": about})
            items += [one for one in page["items"] if not statuses or one["status"] in statuses]
            cursor = page["next_cursor"]
            if cursor is None or len(items) >= limit:
                break
        media.send(resp, media.page(items, cursor))

    async def get_channel_thread(self, req: Request, resp: Response, id: str, thread: str) -> None:
        """Answer with one thread."""
        await known(self._state, id)
        media.send(resp, await self._thread(id, thread))

    async def change_channel_thread(self, req: Request, resp: Response, id: str, thread: str) -> None:
        """Change the status of a thread, or what it is about."""
        body = await media.read(req, ChangeThread)
        state = self._state
        about = [one.model_dump() for one in body.about] if body.about is not None else None
        async with rooms.changing(state, ids.check_slug(id, "id")):
            rooms.file_of(state, id)
            await threads.check_about(state, about or ())
            found = await rooms.recall_thread(state, id, thread)
            drafts = threads.set_status(state, found, body.status, about, by=req.context.principal)
            if drafts:
                state.append(*drafts)
        n = state.n
        await state.durable()
        media.send(resp, await self._thread(id, thread), n=n)

    async def _thread(self, id: str, thread: str) -> Doc:
        try:
            return outward(ThreadView, await views.document(self._state, Thread, key_of(id, thread)))
        except NotFound:
            raise NotFound(f"There is no thread {thread!r} in the channel {id!r}.") from None

    # --- turns --------------------------------------------------------------------------------------------------------

    async def list_channel_turns(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of turns: first the queue, then the others, newest first."""
        await known(self._state, id)
        given = req.context.query
        states = [str(one) for one in given.get("state", ())]
        queue = await self._queue(id, given.get("thread")) if "cursor" not in given else []
        if states and TurnState.QUEUED not in states:
            queue = []
        wanted = {**given, "status": tuple(one for one in states if one != TurnState.QUEUED)}
        if states == [TurnState.QUEUED]:
            return media.send(resp, media.page(queue))
        page = await self._page(TurnView, "channel_turn", id, wanted, {"thread": given.get("thread")})
        return media.send(resp, {**page, "items": [*queue, *page["items"]]})

    async def _queue(self, id: str, thread: str | None) -> list[Doc]:
        """Return the places in the queue as turns."""
        state = self._state
        if id not in state.definitions.by_kind[CHANNELS]:
            return []
        async with pins.owner(state, CHANNELS, id):
            room = speaking.room(state, id)
            places = [one for one in arbitrate.queue(room) if thread in (None, one.thread)]
        turns = (
            Turn(
                turn_id=one.turn_id, channel_id=id, thread=one.thread, member=one.member, state=TurnState.QUEUED,
                rank=one.rank, made=0, n=room.channel.n, session_id=room.file.by_id[one.member].session,
                reason="the daemon is paused" if None in state.paused else one.held,
            )
            for one in places[:QUEUED]
        )  # fmt: skip
        noun = state.nouns.by_class[Turn]
        return [outward(TurnView, state.document(noun, one)) for one in turns]

    # --- proposals ----------------------------------------------------------------------------------------------------

    async def list_channel_proposals(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of proposals, newest first."""
        await known(self._state, id)
        given = req.context.query
        wanted = {**given, "status": given.get("state", ())}
        media.send(resp, await self._page(ProposalView, "channel_proposal", id, wanted, {}))

    async def propose(self, req: Request, resp: Response, id: str) -> None:
        """Make a proposal (201)."""
        body = await media.read(req, MakeProposal)
        state, by = self._state, req.context.principal
        wish = Wish(
            kind=body.kind, dedupe_key=body.dedupe_key, text=body.text, by=by, thread=body.thread,
            expires_at=normal_time(body.expires_at),
        )  # fmt: skip
        request = media.idempotency(req, body, f"channels/{id}/propose by {by}")
        async with rooms.changing(state, ids.check_slug(id, "id")):
            if body.thread is not None:
                await rooms.recall_thread(state, id, body.thread)
            key = await keys.known(state, request)
            proposal_id = keys.earlier(state, key)
            if proposal_id is None:
                proposal_id, drafts = proposing.propose(state, id, wish, key)
                state.append(*drafts)
            n = state.n
        await state.durable()
        media.send(resp, await self._proposal(id, proposal_id), status=201, n=n)

    async def get_channel_proposal(self, req: Request, resp: Response, id: str, proposal_id: str) -> None:
        """Answer with one proposal."""
        await known(self._state, id)
        media.send(resp, await self._proposal(id, proposal_id))

    async def resolve_channel_proposal(self, req: Request, resp: Response, id: str, proposal_id: str) -> None:
        """Accept a proposal, which posts it as a message of yours, or dismiss it."""
        body = await media.read(req, ResolveProposal)
        state, by = self._state, req.context.principal
        async with rooms.changing(state, ids.check_slug(id, "id")):
            rooms.file_of(state, id)
            await self._proposal(id, proposal_id)
            proposal = proposing.find(state, id, proposal_id)
            proposing.check_shown(proposal, body.digest)
            if body.decision == "dismiss":
                state.append(proposing.close(proposal, "dismissed", by=by))
            else:
                one = await author(req, state, id)
                wanted = Wanted(text=body.text or proposal.text, thread=proposal.thread, message_id=ids.new("post"),
                                tainted_by=proposal.tainted_by)  # fmt: skip
                drafts = await posting.compose(state, id, one, wanted, opens=True, by=by)
                proposal = proposing.find(state, id, proposal_id)
                state.append(*drafts, proposing.close(proposal, "accepted", by=by, message_id=wanted.message_id))
            n = state.n
        await state.durable()
        media.send(resp, await self._proposal(id, proposal_id), n=n)

    async def _proposal(self, id: str, proposal_id: str) -> Doc:
        try:
            return outward(ProposalView, await views.document(self._state, Proposal, key_of(id, proposal_id)))
        except NotFound:
            raise NotFound(f"There is no proposal {proposal_id!r} in the channel {id!r}.") from None

    # --- shared -------------------------------------------------------------------------------------------------------

    async def _page(
        self, view: type[View], noun: str, id: str, given: Any, fields: dict[str, str | None]
    ) -> dict[str, Any]:
        """Return a page of a channel's things, newest first."""
        await self._state.caught_up()
        where = {name: value for name, value in fields.items() if value is not None}
        statuses = given.get("status", ())
        if statuses and noun == "channel_thread":
            statuses = (*statuses, ACTIVE)  # the index has this one while turns are open
        page = await asyncio.to_thread(
            self._state.index.things,
            noun,
            limit=given.get("limit", paging.LIMIT),
            cursor=given.get("cursor"),
            session=None if where else f"{CHANNELS}/{id}",
            statuses=statuses,
            fields={**where, "channel": id} if where else {},
        )
        items = [outward(view, one) for one in encoding.plain(page.items)]
        return dict(media.page(items, page.next_cursor))


ONE = "/v1/channels/{id}"
THREAD = f"{ONE}/threads/{{thread}}"
OPERATIONS = bind(
    Talk,
    get(f"{ONE}/threads", Talk.list_channel_threads, "List threads of a channel, newest first.", ThreadView, *THREADS,
        page=True, problems=(404,)),
    get(THREAD, Talk.get_channel_thread, "Get one thread.", ThreadView, problems=(404,)),
    patch(THREAD, Talk.change_channel_thread, "Change the status of a thread, or what it is about.", ChangeThread,
          ThreadView, problems=(404, 409)),
    get(f"{ONE}/turns", Talk.list_channel_turns, "List turns: the queue with its reasons, then all others.", TurnView,
        *TURNS, page=True, problems=(404,)),
    get(f"{ONE}/proposals", Talk.list_channel_proposals, "List proposals, newest first.", ProposalView, *PROPOSALS,
        page=True, problems=(404,)),
    post(f"{ONE}/propose", Talk.propose, "Propose a topic, or report an event.", MakeProposal, ProposalView,
         good=(201,), problems=(404, 409, 429), key=True),
    get(f"{ONE}/proposals/{{proposal_id}}", Talk.get_channel_proposal, "Get one proposal.", ProposalView,
        problems=(404,)),
    post(f"{ONE}/proposals/{{proposal_id}}/resolve", Talk.resolve_channel_proposal,
         "Accept a proposal, or dismiss it.", ResolveProposal, ProposalView, problems=(404, 409)),
)  # fmt: skip
