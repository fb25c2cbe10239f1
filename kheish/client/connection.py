"""The hand-written half of the blocking client: sending, following and waiting. `sync.py` has the operations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kheish.client import discovery, requests
from kheish.client.call import Call, Stream, located
from kheish.client.run import RUN_ENDS, Deadline, RunFacts, is_seal
from kheish.client.sse import Event, Following
from kheish.client.transport import Transport
from kheish.errors import Unavailable, Unreachable
from kheish.ids import now

if TYPE_CHECKING:
    from kheish.client.shapes import LoginLink, RunView

T = TypeVar("T")


class Connection:
    """A daemon: the one at `url`, else the one that serves `state_root` (found as `kheish` finds it).

    Every method raises the class of `kheish.errors` that the daemon's response names, or Unreachable.
    """

    def __init__(self, url: str | None = None, token: str | None = None, state_root: str | Path | None = None) -> None:
        self._transport = Transport(lambda: discovery.find(url, token, state_root))

    @property
    def url(self) -> str:
        """The daemon's address. Raises Unreachable if none is known."""
        return self._transport.address.url

    def send(self, call: Call[T]) -> T:
        """Send one call of `kheish.client.requests`."""
        return self._transport.send(call)

    def past_events(
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
    ) -> Iterator[Event]:
        """Yield the events after `after` up to the newest, or until `quiet` seconds pass without one."""
        stream = requests.events(session=session, run=run, flow=flow, channel=channel, project=project, kind=kind)
        asked_at = now()
        place = Following(after)
        with self._transport.stream(located(stream.path, {**stream.query, **place.query()}), quiet) as (newest, chunks):
            for chunk in chunks:
                for event in place.feed(chunk):
                    if event.n is None or (event.at or "") > asked_at:
                        return  # the first event that is not in the past
                    yield event
                    if newest == str(event.n):
                        return

    def follow(self, stream: Stream, *, after: int | None, opened: Callable[[], None] | None = None) -> Iterator[Event]:
        """Yield the events of a stream after `after` (0: all; None: from now on), then live ones, without end.

        Continues over cuts and daemon restarts, without a gap. `opened()` is called when the daemon has answered.
        """
        place = Following(after)
        while True:
            why: Exception | None = None
            try:
                path = located(stream.path, {**stream.query, **place.query()})
                with self._transport.stream(path) as (newest, chunks):
                    place.opened(newest)
                    if opened is not None:
                        opened()
                    for chunk in chunks:
                        yield from place.feed(chunk)
            except (Unreachable, Unavailable) as error:
                why = error
            time.sleep(place.cut(why))
            # Between two daemons no address is recorded; the next attempt raises.
            with contextlib.suppress(Unreachable):
                self._transport.moved()


class Resource:
    """A noun of the API, bound to a client."""

    def __init__(self, client: Connection) -> None:
        self._client = client
        self._send = client.send


class FlowFollowing(Resource):
    """The operations of Flows that follow a Flow to its end."""

    def follow(self, flow_id: str, after: int = 0) -> Iterator[Event]:
        """Yield the Flow's events after number `after`, then live ones, up to its seal."""
        for event in self._client.follow(requests.flow_events(flow_id), after=after):
            yield event
            if is_seal(event, flow_id):
                return


class Run(RunFacts):
    """A run that was started or looked up."""

    def __init__(self, client: Connection, data: RunView) -> None:
        super().__init__(data)
        self._client = client

    def refresh(self) -> Run:
        """Read the run's state now."""
        self.data = self._client.send(requests.get_run(self.run_id))
        return self

    def follow(self, after: int = 0) -> Iterator[Event]:
        """Yield the run's events after number `after`, then live ones, up to its end; then set `output` and `error`."""
        for event in self._client.follow(requests.run_events(self.run_id), after=after):
            yield event
            if event.kind in RUN_ENDS and event.run == self.run_id:
                break
        self.refresh()

    def wait(self, timeout: float | None = None) -> Run:
        """Block until the run is final, or waits for a user (`needs_user`); restarts of the daemon do not end the wait.

        Raises TimeoutError after `timeout` seconds.
        """
        deadline = Deadline(timeout)
        while True:
            with contextlib.suppress(Unreachable, Unavailable):  # between two daemons
                self.data = self._client.send(deadline.poll(self.run_id))
                if self.done or self.needs_user:
                    return self
            if not deadline.left:
                raise self.overdue()
            time.sleep(deadline.pause())

    def cancel(self, reason: str | None = None) -> Run:
        """Stop the run for good."""
        cancelled = self._client.send(requests.cancel_run(self.run_id, reason))
        self.data = cancelled
        return self

    def retry(self, *, idempotency_key: str | None = None) -> Run:
        """Start a new run with the same request."""
        return Run(self._client, self._client.send(requests.retry_run(self.run_id, idempotency_key=idempotency_key)))


def login_link(client: Connection, made: LoginLink) -> dict[str, str]:
    """Return a login link as the whole address that a browser opens: `["url"]`, `["expires_at"]`."""
    return {"url": client.url + made["path"], "expires_at": made["expires_at"]}
