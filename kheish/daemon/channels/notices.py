"""Messages that schedules post in channels: each in one group with its whole fire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256

from kheish.domain import keys
from kheish.domain.channels import posting, rooms
from kheish.domain.events import Draft
from kheish.domain.events.channels import Author
from kheish.domain.keys import Key
from kheish.domain.schedules import firing
from kheish.domain.schedules.definition import ScheduleFile
from kheish.state.state import State


def message_id(schedule_id: str, cause: str | Key) -> str:
    """Return the id of the message of an occurrence, or of a trigger with a key; always the same, so that a repeated
    attempt posts nothing twice."""
    text = cause if isinstance(cause, str) else keys.key_id(cause.request.scope, cause.request.key)
    return f"post_{sha256(f'{schedule_id}@{text}'.encode()).hexdigest()[:26]}"


async def find_fire(state: State, message_id: str) -> str | None:
    """Return the id of the fire that posted a message; None if none did."""
    await state.caught_up()
    page = await asyncio.to_thread(state.index.things, "fire", limit=1, fields={"message_id": message_id})
    return str(page.items[0]["fire_id"]) if page.items else None


async def post(
    state: State,
    file: ScheduleFile,
    schedule_id: str,
    planned: str,
    message_id: str,
    beside: Callable[[], Sequence[Draft] | None],
) -> None:
    """Post the message of a fire. `beside` returns the entries before it, or None if it is no longer wanted.

    Raises NotFound, TooLarge, IdempotencyConflict.
    """
    channel_id, by = file.start.channel or "", firing.actor(schedule_id)
    author = Author(kind="schedule", member=None, name=schedule_id, via=by)
    async with rooms.changing(state, channel_id):
        wanted = posting.Wanted(text=file.start.message or "", message_id=message_id)
        posted = await posting.compose(state, channel_id, author, wanted, opens=True, by=by)
        before = beside()
        if before is None:
            return
        started = firing.dispatched(schedule_id, planned, None, message_id=message_id)
        settled = firing.settled(file, firing.get(state, schedule_id), planned, "settled", None)
        state.append(*before, started, *settled, *posted)
