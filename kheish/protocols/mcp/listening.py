"""`subscriptions/listen`: reports to a client of 2026-07-28 what changes: the tools, the list of resources, and
single resources.

It follows the daemon's events with the caller's token, so a client learns of nothing that its token may not see. A
notification says only that something changed; several of the same kind become one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
    event_to_notification,
)
from mcp_types import INTERNAL_ERROR, INVALID_REQUEST

from kheish.client import requests
from kheish.client.call import Stream
from kheish.client.sse import Event
from kheish.errors import KheishError
from kheish.protocols import access as accesses
from kheish.protocols.access import Access, Rights
from kheish.protocols.mcp import pages

#: resources that one stream watches; those of a limited token, each with a stream of its own
MOST, FEW = 100, 8
#: seconds in which news are collected
_COLLECT = 0.2
#: events after which the list of resources is another
_LISTED = ("session.created", "session.deleted", "session.forked", "flow.started")
_EDITED = "definition.changed"
#: events after which a session or a Flow reads otherwise
_OF_SESSION = (
    "session.updated", "session.ended", "run.submitted", "run.started", "run.waiting", "run.requeued", "run.resumed",
    "run.completed", "run.failed", "run.cancelled", "run.interrupted",
)  # fmt: skip
_OF_FLOW = ("flow.sealed", "phase.started", "phase.ended", "phase.blocked", "phase.retried", "evidence.attached")


#: the daemon's streams with the news of all lists, of all sessions and Flows, and of both
LISTS, RESOURCES = requests.events(kind=(_EDITED, *_LISTED)), requests.events(kind=(*_OF_SESSION, *_OF_FLOW))
ALL = requests.events(kind=(_EDITED, *_LISTED, *_OF_SESSION, *_OF_FLOW))


@dataclass(slots=True)
class News:
    """The news for one client that are not sent yet; at most one for each list and each watched resource."""

    honored: types.SubscriptionFilter
    news: dict[ServerEvent, None] = field(default_factory=dict)
    has_news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def uris(self) -> frozenset[str]:
        """The resources that it watches."""
        return frozenset(self.honored.resource_subscriptions or ())

    def sources(self, rights: Rights) -> list[Stream]:
        """Return the daemon's streams that have its news. A limited token may follow single sessions and Flows only."""
        if not rights.is_limited:
            return [ALL if self.uris else LISTS]
        return [source_of(uri) for uri in self.honored.resource_subscriptions or ()]

    def add(self, event: ServerEvent) -> None:
        """Add news, if the client wants them."""
        match event:
            case ToolsListChanged():
                is_wanted = self.honored.tools_list_changed is True
            case ResourcesListChanged():
                is_wanted = self.honored.resources_list_changed is True
            case ResourceUpdated(uri=uri):
                is_wanted = uri in self.uris
            case _:
                is_wanted = False
        if is_wanted:
            self.news[event] = None
            self.has_news.set()

    async def take(self) -> list[ServerEvent]:
        """Wait for news, and return them."""
        await self.has_news.wait()
        await asyncio.sleep(_COLLECT)
        self.has_news.clear()
        news, self.news = list(self.news), {}
        return news


async def serve(
    access: Access, context: ServerRequestContext[Any, Any], params: types.SubscriptionsListenRequestParams
) -> types.SubscriptionsListenResult:
    """Serve a stream until the client leaves, the token ends or the daemon stops. Raises MCPError."""
    if context.request_id is None:
        raise MCPError(INVALID_REQUEST, "subscriptions/listen requires a request id")
    meta = {SUBSCRIPTION_ID_META_KEY: context.request_id}
    try:
        rights = await accesses.rights(access)
        stream = News(_honored(params.notifications, rights))
        await _serve(access, context, stream, rights, meta)
    except KheishError as error:
        raise MCPError(INTERNAL_ERROR, error.detail, {"code": error.code}) from error
    return types.SubscriptionsListenResult(_meta=meta)


async def _serve(
    access: Access, context: ServerRequestContext[Any, Any], stream: News, rights: Rights, meta: dict[str, Any]
) -> None:
    """Follow the events, acknowledge, and send news, until one of these ends. Raises the errors of the operations."""
    sources = stream.sources(rights)
    opened = [asyncio.Event() for _ in sources]
    followed = [follow(access, one, stream, rights, began.set) for one, began in zip(sources, opened, strict=True)]
    tasks = [asyncio.ensure_future(one) for one in (*followed, _send(context, stream, meta, opened))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def follow(
    access: Access, source: Stream, stream: News, rights: Rights, opened: Callable[[], None] | None = None
) -> None:
    """Add the news of the daemon's events. Raises the errors of the operations."""
    async with contextlib.aclosing(access.follow(source, after=None, opened=opened)) as events:
        async for event in events:
            for one in _news(event):
                stream.add(one)
            if _edits_settings(event) and (now := await accesses.rights(access)) != rights:
                rights = now
                stream.add(ToolsListChanged())


async def _send(
    context: ServerRequestContext[Any, Any], stream: News, meta: dict[str, Any], opened: Sequence[asyncio.Event]
) -> None:
    """Send the acknowledgement once nothing that happens is missed, and then the news."""
    for one in opened:
        await one.wait()
    send, id = context.session.send_notification, context.request_id
    params = types.SubscriptionsAcknowledgedNotificationParams(notifications=stream.honored, _meta=meta)
    await send(types.SubscriptionsAcknowledgedNotification(params=params), related_request_id=id)
    while True:
        for event in await stream.take():
            await send(event_to_notification(event, meta), related_request_id=id)


def _honored(wanted: types.SubscriptionFilter, rights: Rights) -> types.SubscriptionFilter:
    """Return the part of a request that this server serves: it has no prompts, and its own resources only. A limited
    token learns of its sessions and Flows."""
    uris = [uri for uri in dict.fromkeys(wanted.resource_subscriptions or ()) if pages.is_own(uri)]
    if rights.is_limited:
        followed = [uri for uri in uris if pages.parts(uri)[0] != "playbooks"]
        return types.SubscriptionFilter(resource_subscriptions=followed[:FEW] or None)
    return types.SubscriptionFilter(
        tools_list_changed=wanted.tools_list_changed or None,
        resources_list_changed=wanted.resources_list_changed or None,
        resource_subscriptions=uris[:MOST] or None,
    )


def source_of(uri: str) -> Stream:
    """Return the daemon's stream with the news of a session or a Flow."""
    part, id = pages.parts(uri)
    if part == "sessions":
        return requests.session_events(id, kind=_OF_SESSION)
    return requests.flow_events(id, kind=_OF_FLOW)


def _news(event: Event) -> Iterator[ServerEvent]:
    """Yield what an event means for the lists and the resources."""
    data = event.data
    is_playbook = event.kind == _EDITED and data.get("definition") == "playbooks"
    if event.kind in _LISTED or (is_playbook and data.get("change") != "changed"):
        yield ResourcesListChanged()
    if is_playbook:
        yield _updated("playbooks", data.get("id"))
    if event.kind in _OF_SESSION:
        yield _updated("sessions", event.session)
    if event.kind in _OF_FLOW:
        yield _updated("flows", data.get("flow_id"))


def _updated(part: str, id: Any) -> ResourceUpdated:
    return ResourceUpdated(uri=f"{pages.SCHEME}{part}/{quote(str(id), safe='')}")


def _edits_settings(event: Event) -> bool:
    """Return whether an event may change which tools a caller is offered."""
    return event.kind == _EDITED and event.data.get("path") == "kheish.yaml"
