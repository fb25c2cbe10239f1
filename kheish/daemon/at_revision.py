"""The past, as the API asks for it: what a revision stands for, and what the repository held then."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kheish.authoring.sources import is_source
from kheish.errors import Invalid, InvalidCursor, NotFound, UnknownEvent
from kheish.state.state import State
from kheish.store.git import blame, revisions
from kheish.store.git.hold import BRANCH
from kheish.store.git.revisions import Moment
from kheish.store.pipes import Child, unpack

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Past:
    """Reads commits in the git worker, and knows by the index which commit holds an event."""

    def __init__(self, child: Child, state: State) -> None:
        self._child = child
        self._state = state

    async def resolve(self, rev: str) -> Moment:
        """The moment that a revision stands for. Raises Invalid, UnknownEvent, NotFound."""
        match revisions.parse(rev):
            case revisions.Event(n):
                return await (self._digits(rev, n) if n > self._state.n and rev.isdecimal() else self._event(n))
            case revisions.Time(time):
                return await self._time(rev, int(time))
            case revisions.Name(name):
                return Moment(**await self._child.request("resolve", rev=name))
        raise Invalid(f"{rev} counts in one session only; it is taken where a session is forked.")

    async def holding(self, n: int) -> str | None:
        """The first commit that holds event `n`; None where none does yet."""
        found = await self._mark(n=n)
        return found[1] if found else None

    async def read(self, commit: str, path: str) -> bytes:
        """A file as a commit has it. Raises NotFound."""
        found = await self._child.request("read", rev=commit, path=path)
        return found["text"].encode() if "text" in found else unpack(found["content"])

    async def blame(self, path: str, rev: str | None) -> tuple[str, Sequence[Mapping[str, Any]]]:
        """The commit that `rev` (None: the branch) stands for, and who wrote each line of a person's file there.

        Raises Invalid, NotFound, Unavailable.
        """
        if not is_source(path):
            raise Invalid(f"{path!r} is no file of people's; there are kheish.yaml, routes/<id>.yaml, and the like.")
        commit = (await self.resolve(rev or BRANCH)).commit
        return commit, await blame.lines(self._state.root, commit, path)

    async def folder(self, commit: str, session_id: str) -> str | None:
        """Where a commit has a session's folder, for one that the index does not know any more."""
        found: str | None = await self._child.request("find", rev=commit, under="sessions", name=session_id)
        return found

    async def commits(
        self, session_id: str | None, path: str, place: str | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Commits that changed a session's folder, newest first, each with its `place`: a page that is asked for there
        begins with it. `session_id`: None where it is deleted. Raises InvalidCursor.

        By the index; by reading commit after commit for what that does not know (yet, or any more).
        """
        is_walked = place is not None and place.startswith("c")
        if is_walked or session_id is None or not await self._knows():
            rev = place.removeprefix("c") if is_walked and place else None
            if rev is not None and not _COMMIT.match(rev):
                raise InvalidCursor("The cursor is not one that this list gave; start again without it.")
            log = await self._child.request("log", limit=limit, paths=[path], rev=rev)
            return [{**one, "place": f"c{one['commit']}"} for one in log]
        below = int(place) if place and place.isdecimal() and len(place) < 19 else None
        marks = await asyncio.to_thread(self._state.index.commits_of, session_id, below=below, limit=limit)
        found = await self._child.request("described", commits=[commit for _, commit, _ in marks])
        places = {commit: str(n) for n, commit, _ in marks}
        return [{**one, "place": places[one["commit"]]} for one in found]

    async def _knows(self) -> bool:
        """Whether the index knows all commits."""
        return await asyncio.to_thread(self._state.index.fact, "marked") is not None

    async def _digits(self, rev: str, n: int) -> Moment:
        """The beginning of a commit id may have digits only."""
        try:
            return Moment(**await self._child.request("resolve", rev=rev))
        except NotFound:
            return await self._event(n)

    async def _event(self, n: int) -> Moment:
        if not 1 <= n <= self._state.n:
            raise UnknownEvent(f"There is no event {n}; the newest is {self._state.n}.")
        found = await self._mark(n=n)
        if found is None:
            raise NotFound(f"Event {n} is in no commit yet; commits follow within seconds: try again in a moment.")
        return Moment(commit=found[1], n=n, time=found[2])

    async def _time(self, rev: str, time: int) -> Moment:
        found = await self._mark(time=time)
        if found is None:
            raise NotFound(f"There is no commit as old as {rev}; `kheish log` shows the oldest.")
        return Moment(commit=found[1], n=found[0], time=found[2])

    async def _mark(self, *, n: int | None = None, time: int | None = None) -> Sequence[Any] | None:
        """`(n, commit, time)`, from the index where that knows all commits, else from git."""
        index = self._state.index
        if not await self._knows():
            walked: Sequence[Any] | None = await self._child.request("covering", n=n, time=time)
            return walked
        if n is not None:
            return await asyncio.to_thread(index.covering, n)
        return await asyncio.to_thread(index.commit_at, float(time or 0))
