"""Announcements to clients of the handshake: changes of the lists, and of the resources that they subscribe to.

They follow the daemon's events with the caller's token, from `notifications/initialized` to the end of the connection.
Clients of 2026-07-28 ask for theirs by `subscriptions/listen`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskGroup, TaskStatus
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, event_to_notification
from mcp_types import INVALID_PARAMS, INVALID_REQUEST

from kheish.client.call import Stream
from kheish.errors import KheishError
from kheish.protocols import access as accesses
from kheish.protocols.access import Access, Rights
from kheish.protocols.mcp import listening, pages
from kheish.protocols.mcp.listening import FEW, MOST, News

Context = ServerRequestContext[Any, Any]
#: the keys of the streams of the lists, and of all resources of an unlimited token
_LISTS, _ALL = "lists", "all"
#: seconds for a stream to open
_OPENING = 10.0


@dataclass(slots=True, eq=False)
class _Client:
    """A connection with its news. `following` has the streams that are followed for resources."""

    access: Access
    news: News = field(default_factory=lambda: News(types.SubscriptionFilter(resource_subscriptions=[])))
    rights: Rights = field(default_factory=Rights)
    group: TaskGroup = field(default_factory=anyio.create_task_group)
    is_ready: anyio.Event = field(default_factory=anyio.Event)
    following: dict[str, anyio.CancelScope] = field(default_factory=dict)

    @property
    def uris(self) -> list[str]:
        """The resources that the client subscribes to."""
        found = self.news.honored.resource_subscriptions
        assert found is not None
        return found

    async def follow(self, source: Stream, key: str, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Add the news of a stream until the subscription ends. Raises KheishError."""
        with anyio.CancelScope() as scope:
            self.following[key] = scope
            await listening.follow(self.access, source, self.news, self.rights, task_status.started)


class Announcements:
    """The connections of clients of the handshake."""

    def __init__(self, access_of: Callable[[Context], Access]) -> None:
        self._access_of = access_of
        self._clients: dict[Any, _Client] = {}

    async def serve(self, context: Context, _: types.NotificationParams) -> None:
        """Announce what changes until the connection ends, the token ends or the daemon stops."""
        key = _key(context)
        if key in self._clients:
            return  # a client that says it twice
        client = self._clients[key] = _Client(self._access_of(context))
        try:
            await _announce(client, context)
        except* (KheishError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # nothing more can be announced; requests say why
        finally:
            del self._clients[key]
            client.is_ready.set()

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Announce changes of a resource from now on. Raises MCPError."""
        client, uri = await self._client(context), str(params.uri)
        is_limited = client.rights.is_limited
        if not pages.is_own(uri) or (is_limited and pages.parts(uri)[0] == "playbooks"):
            raise MCPError(INVALID_PARAMS, f"There is no resource {uri[:200]} to subscribe to.")
        if uri in client.uris:
            return types.EmptyResult()
        if len(client.uris) >= (most := FEW if is_limited else MOST):
            raise MCPError(INVALID_REQUEST, f"At most {most} resources can be subscribed to.")
        key, source = (uri, listening.source_of(uri)) if is_limited else (_ALL, listening.RESOURCES)
        client.uris.append(uri)
        try:
            if key not in client.following:
                with anyio.fail_after(_OPENING):
                    await client.group.start(client.follow, source, key)
        except (KheishError, TimeoutError) as error:
            client.uris.remove(uri)
            client.following.pop(key, None)
            why = error.detail if isinstance(error, KheishError) else "The daemon cannot be reached."
            raise MCPError(INVALID_PARAMS, why) from error
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Announce no more changes of a resource. Raises MCPError."""
        client, uri = await self._client(context), str(params.uri)
        if uri in client.uris:
            client.uris.remove(uri)
            client.news.news.pop(ResourceUpdated(uri), None)
            if (scope := client.following.pop(uri, None)) is not None:
                scope.cancel()
        return types.EmptyResult()

    async def _client(self, context: Context) -> _Client:
        client = self._clients.get(_key(context))
        if client is not None:
            await client.is_ready.wait()
        if client is None or _key(context) not in self._clients:
            raise MCPError(INVALID_REQUEST, "Nothing is announced here: send notifications/initialized first.")
        return client


async def _announce(client: _Client, context: Context) -> None:
    """Follow the lists, and send the news. Raises the errors of the operations, and of the connection, in a group."""
    client.rights = await accesses.rights(client.access)
    async with client.group as group:
        if not client.rights.is_limited:
            client.news.honored.tools_list_changed = client.news.honored.resources_list_changed = True
            group.start_soon(client.follow, listening.LISTS, _LISTS)
        client.is_ready.set()
        while True:
            for event in await client.news.take():
                await context.session.send_notification(event_to_notification(event, {}))


def _key(context: Context) -> Any:
    """Return the key of a connection: over HTTP, the id of its session; over stdio, there is but one."""
    return context.request.headers.get("mcp-session-id") if context.request is not None else None
