"""The loops of connectors that fetch: Slack's Socket Mode, Telegram's long polling, and those of installed packages.
Each runs while its file is in force; a failure is retried later and later, and shown as a problem."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping

from kheish.authoring.problems import Problems
from kheish.daemon.ingress import own_faults, polling, socket
from kheish.daemon.ingress.receiving import FAILING, Receiving
from kheish.domain.connectors import definition
from kheish.domain.connectors.arrival import Arrival
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.definitions import Definition
from kheish.errors import (
    ConnectorNotReady,
    CredentialRevoked,
    KheishError,
    NotFound,
    PlatformError,
    PlatformRefused,
    StoreFailed,
)
from kheish.runtime.connectors import installed
from kheish.runtime.connectors.base import ConnectorKind, Poll
from kheish.state.state import State

log = logging.getLogger(__name__)

CONFLICT = "telegram_conflict"
#: seconds until a loop is started again after a failure: the first, and the longest; and after a conflict
_AGAIN, _LONGEST, _CONFLICTED = 1.0, 60.0, 30.0
#: what another poller, or a webhook, causes
_CONFLICTS = frozenset({"polled_elsewhere", "webhook_active", "conflict"})

Loop = Callable[["Fetching", str, ConnectorFile], Awaitable[None]]


class Fetching:
    """The loops of all connectors."""

    def __init__(self, state: State, receiving: Receiving, problems: Problems) -> None:
        self.state = state
        self.receiving = receiving
        self._problems = problems
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._connected: set[str] = set()
        self._errors: dict[str, str] = {}

    def start(self) -> None:
        """Start the loops of all connectors in force."""
        for id in self.state.definitions.by_kind["connectors"]:
            self.apply(id)

    def apply(self, connector_id: str) -> None:
        """Start, restart or end the loop of a connector whose file was changed."""
        task = self._tasks.pop(connector_id, None)
        if task is not None:
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._forget(connector_id)
        self.receiving.forget(connector_id)
        found = self.state.definitions.by_kind["connectors"].get(connector_id)
        if found is None or found.value.disabled:
            return
        if (loop := _loop_of(found.value)) is not None:
            work = self._keep(connector_id, found.value, loop, task)
            self._tasks[connector_id] = asyncio.create_task(work, name=f"connector {connector_id}")

    async def close(self) -> None:
        """End all loops."""
        tasks = [*self._tasks.values(), *self._ending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def state_of(self, one: Definition) -> tuple[str, str | None]:
        """Return the state of a connector, and the reason why it fails or is not ready."""
        file: ConnectorFile = one.value
        if file.disabled:
            return "disabled", None
        if (why := definition.readiness(one.id, file, os.environ, self.state.slots)) is not None:
            return "not_ready", why
        if file.kind not in definition.KINDS and installed.get(file.kind) is None:
            return "failing", f"No installed package has connectors of the kind {file.kind!r}."
        if (why := await own_faults.missing(self.state, one.id, file)) is not None:
            return "not_ready", why
        if (why := self.receiving.failures.get(one.id)) is not None:
            return "failing", why
        if _loop_of(file) is None:
            return "ready", None
        if one.id in self._errors:
            return "failing", self._errors[one.id]
        return ("connected" if one.id in self._connected else "connecting"), None

    # --- one loop -----------------------------------------------------------------------------------------------------

    async def _keep(
        self, connector_id: str, file: ConnectorFile, loop: Loop, earlier: asyncio.Task[None] | None
    ) -> None:
        """Run a loop until it is cancelled; `earlier` is the loop of the earlier version of the file."""
        if earlier is not None:
            await asyncio.gather(earlier, return_exceptions=True)
        delay = _AGAIN
        while True:
            began = self.state.clock()
            try:
                await loop(self, connector_id, file)
                delay = _AGAIN
            except StoreFailed:
                return
            except KheishError as error:
                delay = self._fail(connector_id, error, delay if self.state.clock() - began < _LONGEST else _AGAIN)
            except Exception as error:
                log.exception("connector %s", connector_id)
                said = ConnectorNotReady(f"a fault of Kheish, or of an installed package: {type(error).__name__}")
                delay = self._fail(connector_id, said, delay)
            await asyncio.sleep(delay)

    def _fail(self, connector_id: str, error: KheishError, delay: float) -> float:
        """Report a failure, and return the delay until the next attempt."""
        path = f"connectors/{connector_id}.yaml"
        self._connected.discard(connector_id)
        self._errors[connector_id] = error.detail
        is_conflict = isinstance(error, PlatformRefused) and error.reason in _CONFLICTS
        code = CONFLICT if is_conflict else FAILING
        text = f"{error.detail} {_ADVICE.get(getattr(error, 'reason', ''), '')}".strip()
        if isinstance(error, PlatformError | CredentialRevoked | NotFound | ConnectorNotReady):
            self._problems.add(code, path, text, severity="warning")
        else:
            self._problems.add(code, path, text)
        log.warning("connector %s: %s", connector_id, error.detail)
        asked = getattr(error, "retry_after", None) or 0.0
        return max(min(delay * 2, _LONGEST), asked, _CONFLICTED if is_conflict else 0.0)

    def connected(self, connector_id: str) -> None:
        """Note that a loop reaches its platform."""
        if connector_id not in self._connected:
            self._forget(connector_id)
            self._connected.add(connector_id)

    def _forget(self, connector_id: str) -> None:
        self._connected.discard(connector_id)
        self._errors.pop(connector_id, None)
        for code in (FAILING, CONFLICT):
            self._problems.clear(code, f"connectors/{connector_id}.yaml")


_ADVICE: Mapping[str, str] = {
    "polled_elsewhere": "Another program polls with the same token: end it, or give each its own bot.",
    "webhook_active": "A webhook is set: remove it with deleteWebhook, or write mode: webhook.",
    "unauthorized": "Set the slot of the token again: kheish secrets set SLOT.",
    "invalid_auth": "Set the slot of the token again: kheish secrets set SLOT.",
}


def _loop_of(file: ConnectorFile) -> Loop | None:
    """Return the loop of a connector; None if it takes requests."""
    if file.kind == "slack":
        return socket.run if file.way == "socket" else None
    if file.kind == "telegram":
        return polling.run if file.way == "poll" else None
    kind = installed.get(file.kind)
    return _poll_installed if kind is not None and kind.poll is not None else None


async def _poll_installed(fetching: Fetching, connector_id: str, file: ConnectorFile) -> None:
    kind: ConnectorKind | None = installed.get(file.kind)
    assert kind is not None and kind.poll is not None
    receiving = fetching.receiving

    async def secret(name: str) -> str:
        return await receiving.credentials.secret(connector_id, receiving.credentials.slot(file, name))

    async def deliver(arrival: Arrival) -> None:
        await polling.deliver(fetching.receiving, connector_id, file, arrival)
        fetching.connected(connector_id)

    offset = await polling.offset_of(fetching.state, connector_id)
    given = Poll(connector=connector_id, options=file.options, offset=offset, secret=secret, deliver=deliver)
    fetching.connected(connector_id)
    await installed.contained(kind.poll, given)
