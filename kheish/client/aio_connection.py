"""The hand-written half of the asynchronous client, over httpx (imported at the first request); see `connection.py`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from kheish.client import discovery, requests
from kheish.client.aio_transport import AsyncTransport
from kheish.client.call import Call, Stream, located
from kheish.client.run import RUN_ENDS, Deadline, RunFacts, is_seal
from kheish.client.sse import Event, Following
from kheish.errors import Unavailable, Unreachable
from kheish.ids import now

if TYPE_CHECKING:
    from kheish.client.shapes import LoginLink, RunView

T = TypeVar("T")


class AsyncConnection:
    """A daemon: the one at `url`, else the one that serves `state_root`. Close it, or use it in `async with`.

    Every method raises the class of `kheish.errors` that the daemon's answer names, or Unreachable.
    """

    def __init__(self, url: str | None = None, token: str | None = None, state_root: str | Path | None = None) -> None:
        self._transport = AsyncTransport(lambda: discovery.find(url, token, state_root))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the daemon."""
        await self._transport.close()

    async def send(self, call: Call[T]) -> T:
        """Send one call of `kheish.client.requests`."""
        return await self._transport.send(call)

    async def address(self) -> str:
        """Return the daemon's address. Raises Unreachable where none is known."""
        return (await self._transport.address()).url

    async def past_events(
        self,
        *,
        after: int = 0,
        quiet: float = 0.5,
        session: str | None = None,
        run: str | None = None,
        flow: str | None = None,
        channel: str | None = None,
        project: str | None = None,
        kind: str | None = None,
    ) -> AsyncIterator[Event]:
        """Yield the events after `after` up to the newest, or until `quiet` seconds pass without one."""
        stream = requests.events(session=session, run=run, flow=flow, channel=channel, project=project, kind=kind)
        asked_at = now()
        place = Following(after)
        path = located(stream.path, {**stream.query, **place.query()})
        async with self._transport.stream(path, quiet) as (newest, chunks):
            async for chunk in chunks:
                for event in place.feed(chunk):
                    if event.n is None or (event.at or "") > asked_at:
                        return  # the first event that is not in the past
                    yield event
                    if newest == str(event.n):
                        return

    async def follow(
        self, stream: Stream, *, after: int | None, opened: Callable[[], None] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of a stream after `after` (0: all; None: from now on), then live ones, without end.

        Continues over cuts and daemon restarts, without a gap. `opened()` is called when the daemon has answered.
        """
        place = Following(after)
        while True:
            why: Exception | None = None
            try:
                path = located(stream.path, {**stream.query, **place.query()})
                async with self._transport.stream(path) as (newest, chunks):
                    place.opened(newest)
                    if opened is not None:
                        opened()
                    async for chunk in chunks:
                        for event in place.feed(chunk):
                            yield event
            except (Unreachable, Unavailable) as error:
                why = error
            await asyncio.sleep(place.cut(why))
            # Between two daemons no address is recorded; the next attempt raises.
            with contextlib.suppress(Unreachable):
                await self._transport.moved()


class AsyncResource:
    """A noun of the API, bound to a client."""

    def __init__(self, client: AsyncConnection) -> None:
        self._client = client
        self._send = client.send


class AsyncFlowFollowing(AsyncResource):
    """The operations of Flows that follow a Flow to its end."""

    async def follow(self, flow_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Yield the Flow's events after number `after`, then live ones, up to its seal."""
        stream = self._client.follow(requests.flow_events(flow_id), after=after)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                yield event
                if is_seal(event, flow_id):
                    return


class AsyncRun(RunFacts):
    """A run that was started or looked up."""

    def __init__(self, client: AsyncConnection, data: RunView) -> None:
        super().__init__(data)
        self._client = client

    async def refresh(self) -> AsyncRun:
        """Read the run's state now."""
        self.data = await self._client.send(requests.get_run(self.run_id))
        return self

    async def follow(self, after: int = 0) -> AsyncIterator[Event]:
        """Yield the run's events after number `after`, then live ones, up to its end; then set `output` and `error`."""
        # Close it immediately: an abandoned asynchronous generator holds its connection until it is collected.
        stream = self._client.follow(requests.run_events(self.run_id), after=after)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                yield event
                if event.kind in RUN_ENDS and event.run == self.run_id:
                    break
        await self.refresh()

    async def wait(self, timeout: float | None = None) -> AsyncRun:
        """Wait until the run is final, or waits for a user (`needs_user`); restarts of the daemon do not end the wait.

        Raises TimeoutError after `timeout` seconds.
        """
        deadline = Deadline(timeout)
        while True:
            with contextlib.suppress(Unreachable, Unavailable):  # between two daemons
                self.data = await self._client.send(deadline.poll(self.run_id))
                if self.done or self.needs_user:
                    return self
            if not deadline.left:
                raise self.overdue()
            await asyncio.sleep(deadline.pause())

    async def cancel(self, reason: str | None = None) -> AsyncRun:
        """Stop the run for good."""
        cancelled = await self._client.send(requests.cancel_run(self.run_id, reason))
        self.data = cancelled
        return self

    async def retry(self, *, idempotency_key: str | None = None) -> AsyncRun:
        """Start a new run with the same request."""
        call = requests.retry_run(self.run_id, idempotency_key=idempotency_key)
        return AsyncRun(self._client, await self._client.send(call))


async def login_link(client: AsyncConnection, made: LoginLink) -> dict[str, str]:
    """Return a login link as the whole address that a browser opens: `["url"]`, `["expires_at"]`."""
    return {"url": await client.address() + made["path"], "expires_at": made["expires_at"]}
