"""Access to earlier revisions for the API: resolve a revision, and read the repository at it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kheish.authoring import memory
from kheish.authoring.sources import is_source
from kheish.errors import Invalid, InvalidCursor, NotFound, UnknownEvent
from kheish.state.state import State
from kheish.store.git import blame, revisions
from kheish.store.git.hold import BRANCH
from kheish.store.git.revisions import Moment
from kheish.store.pipes import Child, unpack
from kheish.texts import is_number

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Past:
    """Access to commits through the git worker; the index maps events to commits."""

    def __init__(self, child: Child, state: State) -> None:
        self._child = child
        self._state = state

    async def resolve(self, rev: str) -> Moment:
        """Return the moment that a revision denotes. Raise Invalid, UnknownEvent or NotFound."""
        match revisions.parse(rev):
            case revisions.Event(n):
                return await (self._digits(rev, n) if n > self._state.n and is_number(rev) else self._event(n))
            case revisions.Time(time):
                return await self._time(rev, int(time))
            case revisions.Name(name):
                return Moment(**await self._child.request("resolve", rev=name))
        raise Invalid(f"{rev} refers to a position in one session; it is accepted only where a session is forked.")

    async def holding(self, n: int) -> str | None:
        """Return the first commit that contains event `n`; None if it is not committed yet."""
        found = await self._mark(n=n)
        return found[1] if found else None

    async def read(self, commit: str, path: str) -> bytes:
        """Return a file at a commit. Raise NotFound."""
        found = await self._child.request("read", rev=commit, path=path)
        return found["text"].encode() if "text" in found else unpack(found["content"])

    async def files(self, commit: str, folder: str) -> Mapping[str, bytes]:
        """Return the files in a folder at a commit, by their names; none if there is no such folder."""
        try:
            paths: list[str] = await self._child.request("files", rev=commit, path=folder)
        except NotFound:
            return {}
        return {path.removeprefix(f"{folder}/"): await self.read(commit, path) for path in paths}

    async def blame(self, path: str, rev: str | None) -> tuple[str, Sequence[Mapping[str, Any]]]:
        """Return the commit of `rev` (None: the branch), and the author of each line of a user's file there.

        Raise Invalid, NotFound, Unavailable.
        """
        if not is_source(path) and not memory.concerns(path):
            raise Invalid(f"{path!r} is not a file that users write, such as kheish.yaml or routes/<id>.yaml.")
        commit = (await self.resolve(rev or BRANCH)).commit
        return commit, await blame.lines(self._state.root, commit, path)

    async def folder(self, commit: str, session_id: str) -> str | None:
        """Return the path of a session's folder in a commit, for a session that is no longer in the index."""
        found: str | None = await self._child.request("find", rev=commit, under="sessions", name=session_id)
        return found

    async def commits(
        self, session_id: str | None, path: str, place: str | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """List the commits that changed a session's folder, newest first, each with its `place`. Raises InvalidCursor.

        A page that is requested at a `place` begins with that commit. `session_id`: None if the session is deleted.
        The commits come from the index. What it does not cover (yet, or any more) is read commit by commit.
        """
        is_walked = place is not None and place.startswith("c")
        if is_walked or session_id is None or not await self._knows():
            rev = place.removeprefix("c") if is_walked and place else None
            if rev is not None and not _COMMIT.match(rev):
                raise InvalidCursor("The cursor was not issued by this list; restart without it.")
            log = await self._child.request("log", limit=limit, paths=[path], rev=rev)
            return [{**one, "place": f"c{one['commit']}"} for one in log]
        below = int(place) if place and is_number(place) and len(place) < 19 else None
        marks = await asyncio.to_thread(self._state.index.commits_of, session_id, below=below, limit=limit)
        found = await self._child.request("described", commits=[commit for _, commit, _ in marks])
        places = {commit: str(n) for n, commit, _ in marks}
        return [{**one, "place": places[one["commit"]]} for one in found]

    async def _knows(self) -> bool:
        """Return whether the index covers all commits."""
        return await asyncio.to_thread(self._state.index.fact, "marked") is not None

    async def _digits(self, rev: str, n: int) -> Moment:
        """Resolve digits as an abbreviated commit id, else as an event number."""
        try:
            return Moment(**await self._child.request("resolve", rev=rev))
        except NotFound:
            return await self._event(n)

    async def _event(self, n: int) -> Moment:
        if not 1 <= n <= self._state.n:
            raise UnknownEvent(f"There is no event {n}; the newest is {self._state.n}.")
        found = await self._mark(n=n)
        if found is None:
            raise NotFound(f"Event {n} is not committed yet; commits follow within seconds: retry in a moment.")
        return Moment(commit=found[1], n=n, time=found[2])

    async def _time(self, rev: str, time: int) -> Moment:
        found = await self._mark(time=time)
        if found is None:
            raise NotFound(f"There is no commit as old as {rev}; `kheish log` shows the oldest.")
        return Moment(commit=found[1], n=found[0], time=found[2])

    async def _mark(self, *, n: int | None = None, time: int | None = None) -> Sequence[Any] | None:
        """Return `(n, commit, time)` from the index if it covers all commits, else from git."""
        index = self._state.index
        if not await self._knows():
            walked: Sequence[Any] | None = await self._child.request("covering", n=n, time=time)
            return walked
        if n is not None:
            return await asyncio.to_thread(index.covering, n)
        return await asyncio.to_thread(index.commit_at, float(time or 0))
