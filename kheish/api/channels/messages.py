"""Messages of a channel by HTTP: list, search, post, edit, remove, react."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import orjson
from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import views
from kheish.api.assets import seeing
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, delete, get, patch, post
from kheish.api.http.paging import Given, Param
from kheish.api.search import QUERY
from kheish.api.services import Services
from kheish.domain import events
from kheish.domain.assets import asset as assets
from kheish.domain.channels import emoji, naming, post as posts, posting, rooms
from kheish.domain.channels.channel import CHANNELS, key_of
from kheish.domain.channels.post import INTERNAL, Post, Reactions
from kheish.domain.channels.posting import Wanted
from kheish.domain.events.channels import Author, Reaction
from kheish.errors import Invalid, NotFound
from kheish.state.state import State

Doc = dict[str, Any]
Text = Annotated[str, Field(min_length=1)]
_Id = Annotated[str, Field(min_length=1, max_length=128)]
Emoji = Annotated[str, Field(min_length=1, max_length=emoji.MOST_CHARACTERS)]
LIST = (
    *paging.PAGE,
    paging.text("thread"),
    Param(name="q", about=f"Only messages with these {QUERY}."),
)
EMOJI = (Param(name="emoji", about="The emoji to take back.", required=True),)
_POSTED = (events.ChannelPosted.kind, events.ChannelEdited.kind)


class PostChannelMessage(Body):
    """A message for a channel. It is yours: the member whose person your token names, else a guest."""

    text: Text
    """The text, of 16 KiB at most; `@name` and `@member-id` address members."""
    addressed: Annotated[list[_Id], Field(max_length=posting.ADDRESSED)] = Field(default_factory=list)
    """Members that it is for, by id or name, in this order."""
    thread: _Id | None = None
    """The thread that it continues; without it and `reply_to`, it begins one."""
    reply_to: _Id | None = None
    """The message that it replies to, in the same thread."""
    attachments: Annotated[list[_Id], Field(max_length=posting.ATTACHMENTS)] = Field(default_factory=list)
    """Ids of assets."""
    message_id: _Id | None = None
    """An id of your own; the same message is posted once. Idempotency-Key has the same effect."""


class EditChannelMessage(Body):
    """Another text for a message."""

    text: Text


class React(Body):
    """A reaction."""

    emoji: Emoji
    """An emoji, or its name between colons, such as `:thumbs_up:`."""


class ChannelReaction(Answer):
    """The members and guests that reacted to a message with an emoji."""

    emoji: str
    by: list[str]


class ChannelMessage(Answer):
    """A message in a channel."""

    message_id: str
    channel: str
    thread: str
    """The id of its thread: that of the thread's first message."""
    reply_to: str | None
    from_: Author
    addressed: list[str]
    """The members that it names."""
    text: str
    """Empty after its removal."""
    attachments: list[str]
    reactions: list[ChannelReaction]
    turn_id: str | None
    """The turn in which an agent posted it."""
    edited_at: str | None
    removed_at: str | None
    at: str
    tainted_by: str | None
    """The untrusted content that its author had read."""
    n: int


def author_of(req: Request, state: State, channel_id: str, names: dict[str, str]) -> Author:
    """Return the caller as the author of a message. Raises NotFound."""
    caller = req.context.caller
    return posting.person(rooms.file_of(state, channel_id), names, person=caller.person, token=caller.name)


async def author(req: Request, state: State, channel_id: str) -> Author:
    """Return the caller as the author of a message. Raises NotFound."""
    file = rooms.file_of(state, channel_id)
    return author_of(req, state, channel_id, await naming.member_names(state, file))


async def complete(state: State, docs: Iterable[Doc]) -> list[Doc]:
    """Return messages as answers show them, with their reactions."""
    shown = [{name: value for name, value in doc.items() if name not in INTERNAL} for doc in docs]
    recent = [state.unjournaled.get((Reactions, key_of(doc["channel"], doc["message_id"]))) for doc in shown]

    def read() -> None:
        for doc, change in zip(shown, recent, strict=True):
            key = key_of(doc["channel"], doc["message_id"])
            stored = state.index.thing("channel_reactions", key) if change is None else None
            found = change.value if change is not None else posts.read_reactions(stored) if stored is not None else None
            reactions: Sequence[Reaction] = found.reactions if found is not None else ()
            doc["reactions"] = [{"emoji": one.emoji, "by": one.by} for one in reactions]

    await asyncio.to_thread(read)
    return shown


class Messages:
    """The resource of `/v1/channels/{id}/messages`."""

    def __init__(self, services: Services) -> None:
        self._state = services.state

    async def list_channel_messages(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of messages, newest first, or of those that a search finds."""
        await known(self._state, id)
        given = req.context.query
        await self._state.caught_up()
        if "q" in given:
            page = await self._search(id, given)
        else:
            where = {"thread": given["thread"], "channel": id} if "thread" in given else {}
            found = await asyncio.to_thread(
                self._state.index.things,
                "post",
                limit=given.get("limit", paging.LIMIT),
                cursor=given.get("cursor"),
                session=None if where else f"{CHANNELS}/{id}",
                fields=where,
            )
            page = found.items, found.next_cursor
        media.send(resp, media.page(await complete(self._state, page[0]), page[1]))

    async def _search(self, id: str, given: Given) -> tuple[list[Doc], str | None]:
        limit, below = given.get("limit", paging.LIMIT), paging.number_of("c", given.get("cursor"))
        docs, last = await asyncio.to_thread(self._find, id, given["q"], given.get("thread"), limit, below)
        return docs, paging.cursor_of("c", last) if last is not None else None

    def _find(
        self, id: str, words: str, thread: str | None, limit: int, below: int | None
    ) -> tuple[list[Doc], int | None]:
        """Return the messages whose present text matches, and the number from which the next page continues."""
        docs: dict[str, Doc] = {}
        while True:
            try:
                rows = self._state.index.search(
                    words, limit=paging.MOST, below=below, places=[(f"{CHANNELS}/{id}", None)]
                )
            except ValueError as error:
                raise Invalid(f"{words!r} is not a valid query: {error}; write {QUERY}.") from error
            for n, _, _, line, _ in rows:
                below = n
                doc = self._present(id, n, orjson.loads(line))
                if doc is not None and thread in (None, doc["thread"]):
                    docs[doc["message_id"]] = doc
                    if len(docs) == limit:
                        return list(docs.values()), below
            if len(rows) < paging.MOST:
                return list(docs.values()), None

    def _present(self, id: str, n: int, entry: Doc) -> Doc | None:
        """Return the message of a matching entry, if that entry has its present text."""
        if entry["kind"] not in _POSTED:
            return None
        doc = self._state.index.thing("post", key_of(id, entry["data"]["post"]["message_id"]))
        return doc if doc is not None and doc["removed_at"] is None and doc["n"] == n else None

    async def get_channel_message(self, req: Request, resp: Response, id: str, message_id: str) -> None:
        """Answer with one message."""
        await known(self._state, id)
        media.send(resp, await self._message(id, message_id))

    async def post_channel_message(self, req: Request, resp: Response, id: str) -> None:
        """Post a message (201); one that was posted before is returned (200)."""
        body = await media.read(req, PostChannelMessage)
        header = req.get_header("Idempotency-Key")
        state, by = self._state, req.context.principal
        await seeing.check_ids(state, req.context.caller, body.attachments, "/attachments/{number}")
        async with rooms.changing(state, ids.check_slug(id, "id")), assets.using_ids(state, body.attachments):
            one = await author(req, state, id)
            message_id = body.message_id or (_derived(by, header) if header else ids.new("post"))
            wanted = Wanted(
                text=body.text,
                addressed=tuple(body.addressed),
                thread=body.thread,
                reply_to=body.reply_to,
                attachments=tuple(body.attachments),
                message_id=message_id,
            )
            drafts = await posting.compose(state, id, one, wanted, opens=True, by=by)
            if drafts:
                state.append(*drafts)
            n = state.n
        await state.durable()
        doc = await self._message(id, message_id)
        resp.set_header("Location", f"/v1/channels/{id}/messages/{message_id}")
        media.send(resp, doc, status=201 if drafts else 200, n=n)

    async def edit_channel_message(self, req: Request, resp: Response, id: str, message_id: str) -> None:
        """Give a message of yours another text."""
        body = await media.read(req, EditChannelMessage)
        state, by = self._state, req.context.principal
        async with rooms.changing(state, ids.check_slug(id, "id")):
            one = await author(req, state, id)
            drafts = await posting.edit(state, id, message_id, body.text, one, by=by)
            if drafts:
                state.append(*drafts)
        await self._answer(resp, id, message_id)

    async def remove_channel_message(self, req: Request, resp: Response, id: str, message_id: str) -> None:
        """Remove a message of yours, or as an admin any (204)."""
        state, caller = self._state, req.context.caller
        async with rooms.changing(state, ids.check_slug(id, "id")):
            one = await author(req, state, id)
            drafts = await posting.remove(
                state, id, message_id, one, may_moderate=caller.role == "admin", by=caller.name
            )
            if drafts:
                state.append(*drafts)
            n = state.n
        await state.durable()
        resp.status = 204
        resp.set_header(media.EVENT, str(n))

    async def add_reaction(self, req: Request, resp: Response, id: str, message_id: str) -> None:
        """React to a message; a reaction that is there stays."""
        body = await media.read(req, React)
        await self._react(req, resp, (id, message_id), body.emoji, is_added=True)

    async def remove_reaction(self, req: Request, resp: Response, id: str, message_id: str) -> None:
        """Take a reaction of yours back."""
        emoji = req.context.query.get("emoji")
        if emoji is None:
            raise Invalid("Name the reaction to take back: ?emoji=")
        await self._react(req, resp, (id, message_id), emoji, is_added=False)

    async def _react(self, req: Request, resp: Response, place: tuple[str, str], emoji: str, *, is_added: bool) -> None:
        state, by = self._state, req.context.principal
        async with rooms.changing(state, ids.check_slug(place[0], "id")):
            one = await author(req, state, place[0])
            drafts = await posting.react(state, *place, emoji, one, is_added=is_added, by=by)
            if drafts:
                state.append(*drafts)
        await self._answer(resp, *place)

    async def _answer(self, resp: Response, id: str, message_id: str) -> None:
        n = self._state.n
        await self._state.durable()
        media.send(resp, await self._message(id, message_id), n=n)

    async def _message(self, id: str, message_id: str) -> Doc:
        try:
            doc = await views.document(self._state, Post, key_of(id, message_id))
        except NotFound:
            raise NotFound(f"There is no message {message_id!r} in the channel {id!r}.") from None
        return (await complete(self._state, [doc]))[0]


async def known(state: State, channel_id: str) -> None:
    """Raise NotFound for a channel that has neither a file nor entries; what a removed one has remains readable."""
    ids.check_slug(channel_id, "id")
    if channel_id in state.definitions.by_kind[CHANNELS]:
        return
    if await asyncio.to_thread(state.index.thing, "channel", channel_id) is None:
        state.definitions.get(CHANNELS, channel_id)


def _derived(principal: str, key: str) -> str:
    """Return the message id of a caller's idempotency key."""
    return f"post_{hashlib.sha256(f'{principal} {key}'.encode()).hexdigest()[:26]}"


ALL = "/v1/channels/{id}/messages"
ONE = f"{ALL}/{{message_id}}"
_CHANGES: Sequence[int] = (404, 409)
OPERATIONS = bind(
    Messages,
    get(ALL, Messages.list_channel_messages, "List messages of a channel, newest first.", ChannelMessage, *LIST,
        page=True, problems=(404,)),
    post(ALL, Messages.post_channel_message, "Post a message in a channel.", PostChannelMessage, ChannelMessage,
         good=(201, 200), problems=_CHANGES, key=True),
    get(ONE, Messages.get_channel_message, "Get one message.", ChannelMessage, problems=(404,)),
    patch(ONE, Messages.edit_channel_message, "Edit a message of yours.", EditChannelMessage, ChannelMessage,
          problems=_CHANGES),
    delete(ONE, Messages.remove_channel_message, "Remove a message of yours; an admin removes any.",
           problems=_CHANGES),
    post(f"{ONE}/reactions", Messages.add_reaction, "React to a message.", React, ChannelMessage, problems=_CHANGES),
    delete(f"{ONE}/reactions", Messages.remove_reaction, "Take a reaction of yours back.", ChannelMessage,
           problems=_CHANGES, query=EMOJI),
)  # fmt: skip
