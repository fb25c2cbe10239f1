"""Channels by HTTP: their files with their state, members, pause and resume."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson
from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import definitions
from kheish.api.channels import messages, talk
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Because, Body
from kheish.api.http.operation import bind, delete, get, post
from kheish.api.services import Services
from kheish.domain import events
from kheish.domain.channels import channel as channels, naming, rooms
from kheish.domain.channels.channel import CHANNELS, Channel
from kheish.domain.channels.definition import ChannelFile, MemberFile, Participation
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import frozen
from kheish.errors import Conflict, NotFound, PreconditionFailed
from kheish.state import pins
from kheish.state.state import Change
from kheish.store.files import blob_id

KIND = KINDS["channels"]
#: attempts to change the members of a file that others edit, and the seconds between two
ATTEMPTS, PAUSE = 20, 0.1
Members = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@frozen
class ChannelDetailsView(DefinitionView):
    """A channel: the fields of its file, and the following."""

    of_now = True

    state: Literal["active", "paused"]
    pause_reason: str | None
    """The reason of a pause; `loop_guard`: agents posted as much as they may in an hour."""
    messages: int
    last_at: str | None
    """The time of the newest message."""


class ChannelMember(Answer):
    """A member of a channel."""

    member: str
    kind: Literal["human", "agent"]
    name: str
    """The name in effect: the file's, else that of the agent."""
    session: str | None
    person: str | None
    role: str | None
    tags: list[str]
    participation: Participation | None
    """The messages to which an agent speaks; null for a person."""
    muted: bool


class ChannelMembers(Answer):
    """The members of a channel."""

    items: list[ChannelMember]
    next_cursor: str | None


class ChannelFiles(Definitions):
    """The files, each with the state of its channel."""

    added = ("state", "pause_reason", "messages", "last_at")

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        recent = [self._state.unjournaled.get((Channel, one.id)) for one in found]

        def read() -> list[dict[str, Any]]:
            return [_state(one.value, self._known(one.id, change)) for one, change in zip(found, recent, strict=True)]

        return await asyncio.to_thread(read)

    def _known(self, id: str, change: Change | None) -> Channel | None:
        """Return a channel's own state; None for one without entries. Blocks on disk."""
        if change is not None:
            channel: Channel = change.value
            return channel
        doc = self._state.index.thing("channel", id)
        return channels.read(doc) if doc is not None else None


def _state(file: ChannelFile, channel: Channel | None) -> dict[str, Any]:
    is_paused = file.paused or (channel is not None and channel.is_paused)
    reason = channel.pause_reason if channel is not None else None
    return {
        "state": "paused" if is_paused else "active",
        "pause_reason": reason or ("the file says so" if file.paused else None),
        "messages": channel.messages if channel is not None else 0,
        "last_at": channel.last_at if channel is not None else None,
    }


class Channels:
    """The resource of the paths below `/v1/channels/{id}` that other Definitions do not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def pause_channel(self, req: Request, resp: Response, id: str) -> None:
        """Grant no turns from now on; a paused channel stays as it is. Turns that have a lease end as usual."""
        body = await media.read(req, Because)
        state, by = self._state, req.context.principal
        rooms.file_of(state, ids.check_slug(id, "id"))
        async with pins.owner(state, CHANNELS, id):
            if not channels.find(state, id).is_paused:
                state.append(events.ChannelPaused(channel_id=id, reason=body.reason).on(by=by))
        await self._answer(req, resp, id)

    async def resume_channel(self, req: Request, resp: Response, id: str) -> None:
        """End a pause; messages that came meanwhile are answered. The posts of the last hour count from zero."""
        await media.read(req, Body)
        state, by = self._state, req.context.principal
        file = rooms.file_of(state, ids.check_slug(id, "id"))
        if file.paused:
            raise Conflict(f"The file channels/{id}.yaml says paused: true; change it there.")
        async with pins.owner(state, CHANNELS, id):
            if channels.find(state, id).is_paused:
                state.append(events.ChannelResumed(channel_id=id).on(by=by))
        await self._answer(req, resp, id)

    async def _answer(self, req: Request, resp: Response, id: str) -> None:
        n = self._state.n
        await self._state.durable()
        await ChannelFiles(self._services, KIND).get_definition(req, resp, id)
        resp.set_header(media.EVENT, str(n))

    # --- members ------------------------------------------------------------------------------------------------------

    async def list_channel_members(self, req: Request, resp: Response, id: str) -> None:
        """Answer with the members, with the names in effect."""
        media.send(resp, await self._members(id))

    async def add_channel_member(self, req: Request, resp: Response, id: str) -> None:
        """Add a member to the file, or replace the one with its id."""
        member = await media.read(req, MemberFile)
        given = member.model_dump(mode="json", exclude_defaults=True)

        def add(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
            known = [one for one in listed if one.get("member") != member.member]
            places = [at for at, one in enumerate(listed) if one.get("member") == member.member]
            known.insert(places[0] if places else len(known), given)
            return known

        await self._edit(req, resp, id, add)

    async def remove_channel_member(self, req: Request, resp: Response, id: str, member: str) -> None:
        """Remove a member from the file."""

        def remove(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
            known = [one for one in listed if one.get("member") != member]
            if len(known) == len(listed):
                raise NotFound(f"The channel {id!r} has no member {member!r}.")
            return known

        await self._edit(req, resp, id, remove)

    async def _edit(self, req: Request, resp: Response, id: str, change: Members) -> None:
        """Write the file with other members. A caller that names no version changes the members as they are then.

        Raises PreconditionFailed for another version, or for an edit of the file that is not in force.
        """
        sent, by = media.sent_etag(req), req.context.principal
        async with rooms.editing(self._state, ids.check_slug(id, "id")):
            for attempt in range(ATTEMPTS):
                found = self._state.definitions.get(KIND.name, id)
                raw = orjson.dumps({**found.data, "members": change(_listed(found))})
                etag = sent or blob_id(found.raw)
                try:
                    await self._services.editor.put(KIND.name, id, raw, media.JSON, if_match=etag, by=by)
                    break
                except PreconditionFailed:  # another has edited the file, which is taken in a moment
                    if sent is not None or attempt == ATTEMPTS - 1:
                        raise
                    await asyncio.sleep(PAUSE)
        n = self._state.n
        media.send(resp, await self._members(id), n=n)

    async def _members(self, id: str) -> dict[str, Any]:
        file = rooms.file_of(self._state, ids.check_slug(id, "id"))
        names = await naming.member_names(self._state, file)
        items = [
            {
                **one.model_dump(mode="json"),
                "name": names[one.member],
                "participation": file.participation(one) if one.kind == "agent" else None,
            }
            for one in file.members
        ]
        return dict(media.page(items))


def _listed(found: Definition) -> list[dict[str, Any]]:
    return [dict(one) for one in found.data.get("members") or ()]


ONE = "/v1/channels/{id}"
MEMBERS = f"{ONE}/members"
OPERATIONS = (
    *definitions.operations(KIND, ChannelFiles, ChannelDetailsView),
    *bind(
        Channels,
        post(f"{ONE}/pause", Channels.pause_channel, "Grant no turns from now on.", Because, ChannelDetailsView,
             problems=(404, 409)),
        post(f"{ONE}/resume", Channels.resume_channel, "End a pause.", Body, ChannelDetailsView, problems=(404, 409)),
        get(MEMBERS, Channels.list_channel_members, "List the members, with the names in effect.", ChannelMembers,
            problems=(404,)),
        post(MEMBERS, Channels.add_channel_member, "Add a member to the file, or replace the one with its id.",
             MemberFile, ChannelMembers, problems=(404, 409, 412)),
        delete(f"{MEMBERS}/{{member}}", Channels.remove_channel_member, "Remove a member from the file.",
               ChannelMembers, problems=(404, 409, 412)),
    ),
    *messages.OPERATIONS,
    *talk.OPERATIONS,
)  # fmt: skip
