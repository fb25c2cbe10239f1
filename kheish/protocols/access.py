"""Access to the daemon's operations: over HTTP from another process, or within the daemon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from kheish.client import requests
from kheish.client.aio_connection import AsyncConnection
from kheish.client.call import Call, Stream
from kheish.client.sse import Event
from kheish.errors import Forbidden, Unauthorized, Unavailable, Unreachable

T = TypeVar("T")
#: seconds for a daemon that restarts, and between two attempts
RESTART, _PAUSE = 20.0, 0.3
_MAY_ANSWER = frozenset({"admin", "operator", "approver"})


class Access(Protocol):
    """A caller's access to the operations. Each call is authorised, filtered, limited and audited as that of any
    client with the caller's token."""

    #: seconds for which a repeatable call waits for a daemon that restarts
    patience: float

    async def send(self, call: Call[T]) -> T:
        """Return the answer to a call. Raises the KheishError of the daemon's answer, Unreachable."""

    def follow(
        self, stream: Stream, *, after: int | None, opened: Callable[[], None] | None = ...
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of a stream after `after` (0: all; None: from now on), then live ones. Close it at the
        end. `opened()` is called once nothing is missed any more."""


class Remote:
    """Access over HTTP."""

    patience = RESTART

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def send(self, call: Call[T]) -> T:
        """Return the answer to a call. Raises the KheishError of the daemon's answer, Unreachable."""
        return await self._connection.send(call)

    def follow(
        self, stream: Stream, *, after: int | None, opened: Callable[[], None] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of a stream, over cuts and restarts of the daemon."""
        return self._connection.follow(stream, after=after, opened=opened)


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a caller, as far as they decide what it is offered."""

    #: the role may decide approvals and answer questions
    may_answer: bool = False
    #: the operator has permitted answers by a tool
    by_tool: bool = False
    #: the token sees some sessions or projects only
    is_limited: bool = False


async def rights(access: Access) -> Rights:
    """Return the caller's rights; none if the daemon cannot be asked, or does not tell."""
    try:
        who = await access.send(requests.who_am_i())
    except (Forbidden, Unauthorized, Unavailable, Unreachable):
        return Rights()
    may_answer = who["role"] in _MAY_ANSWER
    by_tool = may_answer and who.get("mcp_approvals") == "tool"
    return Rights(may_answer=may_answer, by_tool=by_tool, is_limited=bool(who["sessions"] or who["projects"]))


async def persist(access: Access, work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of work that may be repeated, also over a restart of the daemon. Raises its errors."""
    deadline = time.monotonic() + access.patience
    while True:
        try:
            return await work()
        except (Unreachable, Unavailable):
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(_PAUSE)


async def repeat(access: Access, make: Callable[[], Call[Any]]) -> Any:
    """Return the answer to a call that may be repeated, also over a restart of the daemon. Raises as `send`."""
    return await persist(access, lambda: access.send(make()))
