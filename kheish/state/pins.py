"""Pins, which keep a session (or an owner) loaded while it is in use, however long its user awaits.

Pins are counted, so they nest. They do not prevent deletion: a use that continues without its session raises
SessionDeleted, as loading the session would.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from kheish.errors import NotFound, SessionDeleted
from kheish.state.loading import Partition
from kheish.store.log import owners

if TYPE_CHECKING:
    from kheish.state.state import State

Use = AbstractAsyncContextManager[None]


class Pins:
    """The active uses, by session (or by stream and owner); also of a session that is about to be created."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __contains__(self, key: str) -> bool:
        return key in self._counts

    def free(self, loaded: Mapping[str, Partition]) -> Iterator[Partition]:
        """Yield the partitions that are not in use, in order."""
        return (part for key, part in loaded.items() if key not in self)

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Protect the partition with this key from eviction, even before it is loaded."""
        self._counts[key] += 1
        try:
            yield
        finally:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]


@asynccontextmanager
async def session(state: State, session_id: str) -> AsyncIterator[None]:
    """Load a session, and keep it loaded. Raises NotFound, SessionDeleted (also if it is deleted meanwhile),
    Damaged."""
    with state.pins.hold(session_id):
        await state.load(session_id)
        try:
            yield
        except NotFound:
            await state.load(session_id)  # raises SessionDeleted if that is the reason
            raise


@asynccontextmanager
async def session_or_new(state: State, session_id: str) -> AsyncIterator[None]:
    """Keep a session loaded if it exists or is created meanwhile. Raises SessionDeleted, Damaged."""
    with state.pins.hold(session_id):
        try:
            await state.load(session_id)
        except SessionDeleted:
            raise
        except NotFound:
            pass
        yield


@asynccontextmanager
async def thing(state: State, cls: type, id: str) -> AsyncIterator[dict[str, Any] | None]:
    """Load the session of a thing, and keep it loaded. Yields None if the thing is in memory; otherwise its last
    document, since the thing ended long ago. Raises as `session` does."""
    value = state.find(cls, id)
    document = await state.recall(cls, id) if value is None else None
    if value is None and document is None:
        raise NotFound(f"There is no {state.nouns.by_class[cls].name} {id!r}.")
    async with await _place(state, cls, id, document):
        yield None if state.find(cls, id) is not None else document


async def _place(
    state: State, cls: type, id: str, document: dict[str, Any] | None
) -> AbstractAsyncContextManager[None]:
    """Return the use of the session, or of the stream's owner, that a thing belongs to."""
    noun, key = state.nouns.by_class[cls], state.home(cls, id)
    if noun.read is None:
        return session(state, key or (document or {})["session_id"])
    key = key or await asyncio.to_thread(owners.holder, state.index, noun.name, id)
    return owner(state, *key.split("/", 1)) if key is not None else nullcontext()


@asynccontextmanager
async def owner(state: State, stream: str, owner: str) -> AsyncIterator[None]:
    """Load an owner in a stream, and keep it loaded. Raises Unavailable."""
    with state.pins.hold(f"{stream}/{owner}"):
        await state.load_owner(stream, owner)
        yield
