"""Telegram's long polling. The offset is in the receipt: after a kill, an update comes again and is found by its key,
and none is lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kheish.daemon.ingress.receiving import Receiving
from kheish.domain.connectors import connector as connectors
from kheish.domain.connectors.arrival import Arrival, Parsed
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.events import INGRESS
from kheish.errors import (
    InsufficientStorage,
    KheishError,
    NoActiveVersion,
    PlatformUnavailable,
    PlatformUnclear,
    RouteNotReady,
    SessionNotIdle,
    StoreFailed,
    TooMany,
    Unavailable,
    WorkspaceSlow,
)
from kheish.runtime.connectors import telegram
from kheish.state import pins
from kheish.state.state import State

if TYPE_CHECKING:
    from kheish.daemon.ingress.fetching import Fetching

log = logging.getLogger(__name__)

#: errors that may pass: the request is taken in later
PASSING = (
    InsufficientStorage,
    NoActiveVersion,
    PlatformUnavailable,
    PlatformUnclear,
    RouteNotReady,
    SessionNotIdle,
    StoreFailed,
    TooMany,
    Unavailable,
    WorkspaceSlow,
)
#: seconds that Telegram holds a request without updates; and the time for its answer beyond that
_HELD, _BEYOND = 50, 20
_UPDATES = 100


async def run(fetching: Fetching, connector_id: str, file: ConnectorFile) -> None:
    """Fetch updates until an error. Raises PlatformError (a conflict with another poller, too)."""
    receiving = fetching.receiving
    client = receiving.credentials.telegram(connector_id, file)
    offset = await offset_of(fetching.state, connector_id)
    await client.call("getMe")  # a wrong token fails at once
    while True:
        body = {"offset": offset, "timeout": _HELD, "limit": _UPDATES, "allowed_updates": list(telegram.UPDATES)}
        updates = await client.call("getUpdates", body, seconds=_HELD + _BEYOND)
        fetching.connected(connector_id)
        last: int | None = None
        for given in updates if isinstance(updates, list) else ():
            if telegram.is_update(given):
                await deliver(receiving, connector_id, file, telegram.update(given))
                last = given["update_id"] + 1
        if last is not None:
            await receiving.intake.move_offset(connector_id, last)
            await fetching.state.durable()
            offset = last


async def offset_of(state: State, connector_id: str) -> int | None:
    """Return the position of a connector's loop; None before its first update."""
    async with pins.owner(state, INGRESS, connector_id):
        return connectors.find(state, connector_id).offset


async def deliver(receiving: Receiving, connector_id: str, file: ConnectorFile, parsed: Parsed) -> None:
    """Take in what a loop has fetched, and return when it is durable. What would fail the next time as well is recorded
    as refused. Raises the errors that may pass."""
    try:
        await receiving.accept(connector_id, file, parsed)
    except PASSING:
        raise
    except KheishError as error:
        if not isinstance(parsed, Arrival):
            raise
        log.warning("connector %s: a message is refused: %s", connector_id, error.detail)
        await receiving.intake.refuse(connector_id, parsed, error.detail)
        await receiving.durable()
