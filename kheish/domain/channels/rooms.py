"""Access to a channel: its loaded values, and the older ones that the index alone has.

A change of a message or a thread that is not in memory reads it first. `changing` keeps two such changes apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from kheish.domain.channels import mirrors, post as posts, thread as threads
from kheish.domain.channels.channel import CHANNELS, key_of
from kheish.domain.channels.definition import ChannelFile
from kheish.domain.channels.post import Post, Reactions
from kheish.domain.channels.thread import Thread
from kheish.errors import NotFound
from kheish.state import pins

if TYPE_CHECKING:
    from kheish.state.state import State

KIND = "channels"


class Changes:
    """The locks of the channels that are being changed."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, channel_id: str) -> asyncio.Lock:
        """Return the lock of a channel; one at a time while it is in use."""
        lock = self._locks.get(channel_id)
        if lock is None:
            lock = self._locks[channel_id] = asyncio.Lock()
        return lock


@asynccontextmanager
async def changing(state: State, channel_id: str) -> AsyncIterator[None]:
    """Keep a channel loaded, and other changes of its messages and threads away. Raises Unavailable, Damaged."""
    async with pins.owner(state, CHANNELS, channel_id), _changes(state).lock(channel_id):
        yield


def editing(state: State, channel_id: str) -> asyncio.Lock:
    """Return the lock of the changes of a channel's members, which read its file and write it again."""
    return _changes(state).lock(f"{channel_id}/members")


def _changes(state: State) -> Changes:
    changes: Changes = state.derived.setdefault(Changes, Changes())
    return changes


def file_of(state: State, channel_id: str) -> ChannelFile:
    """Return the file of a channel in force, with the members that it takes over from projects. Raises NotFound."""
    file: ChannelFile = state.definitions.get(KIND, channel_id).value
    return mirrors.with_mirrored(state, channel_id, file)


def find_file(state: State, channel_id: str) -> ChannelFile | None:
    """Return the same file; None for a channel without one."""
    return file_of(state, channel_id) if channel_id in state.definitions.by_kind[KIND] else None


def files(state: State) -> Iterator[tuple[str, ChannelFile]]:
    """Yield the id and the file in force of each channel, with the members that it takes over from projects."""
    for channel_id in state.definitions.by_kind[KIND]:
        yield channel_id, file_of(state, channel_id)


def channels_of(state: State, session_id: str) -> set[str]:
    """Return the channels that a session is a member of, by their files or by a project that mirrors its members."""
    definitions = state.definitions
    projects = (definitions.get("projects", id).value for id in definitions.projects_of(session_id))
    mirrored = {link.channel for project in projects for link in project.channels if link.mirror}
    return {*definitions.channels_of(session_id), *mirrored}


async def recall_post(state: State, channel_id: str, message_id: str) -> Post:
    """Return a message. Raises NotFound."""
    doc = await state.recall(Post, key_of(channel_id, message_id))
    if doc is None:
        raise NotFound(f"There is no message {message_id!r} in the channel {channel_id!r}.")
    return posts.read(doc)


async def recall_thread(state: State, channel_id: str, thread_id: str) -> Thread:
    """Return a thread of a loaded channel. Raises NotFound."""
    key = key_of(channel_id, thread_id)
    found = state.find(Thread, key)
    if found is not None:
        return found
    doc = await state.recall(Thread, key)
    if doc is None:
        raise NotFound(f"There is no thread {thread_id!r} in the channel {channel_id!r}.")
    return state.find(Thread, key) or threads.read(doc)


async def recall_reactions(state: State, channel_id: str, message_id: str) -> Reactions | None:
    """Return the reactions to a message; None without any."""
    doc = await state.recall(Reactions, key_of(channel_id, message_id))
    return posts.read_reactions(doc) if doc is not None else None
