"""The capture of a run's exchanges as artifacts, at the level of the run."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from kheish import ids
from kheish.domain import debug
from kheish.domain.debug import Level
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import IdentityMissing, Invalid, SecretUnreadable
from kheish.runtime.debug import cleaning, files, wire
from kheish.runtime.debug.files import Card, name_of
from kheish.state.state import State
from kheish.store import secrets

if TYPE_CHECKING:
    from kheish.runtime.prompt import Section

log = logging.getLogger(__name__)


class Capture:
    """The captures of a daemon. `identity` is the file of the key that decrypts; `report` adds a problem."""

    def __init__(self, state: State, identity: Path, report: Callable[[str], None]) -> None:
        self._state = state
        self._identity = identity
        self._report = report

    def of(self, run: Run | None) -> Recorder | None:
        """Return the recorder of a run; None if it captures nothing."""
        if run is None:
            return None
        session = self._state.find(Session, run.session_id)
        settings: Mapping[str, Any] = session.settings if session is not None else {}
        level = debug.effective(run.settings.debug, settings, self._state.definitions.config.debug)
        return None if level == "off" else Recorder(self, run, level)

    def of_id(self, run_id: str | None) -> Recorder | None:
        """Return the recorder of a loaded run; None if it captures nothing."""
        return self.of(self._state.find(Run, run_id) if run_id is not None else None)

    async def keep(
        self, run: Run, level: Level, name: str, content: bytes, *, are_events: bool = False, size: int | None = None
    ) -> None:
        """Store an artifact. A fault is logged: no run fails because it is captured."""
        scrub, at = self._state.scrub, ids.stamp(self._state.clock())

        def store() -> None:
            def cleaned(raw: bytes) -> bytes:
                if level == "full":
                    return raw
                return cleaning.clean_events(raw, scrub) if are_events else cleaning.clean(raw, scrub)

            cut = cleaning.bounded(content, files.ARTIFACT_BYTES, cleaned)
            whole = size if size is not None else len(content)
            is_cut = whole > files.ARTIFACT_BYTES
            card = files.card_of(name, run.session_id, cut, whole, is_cut, encrypted=level == "full", at=at)
            root = self._state.root
            stored = secrets.seal(cut, secrets.own_recipients(root, self._identity)) if level == "full" else cut
            files.write(root, run.run_id, card, stored)

        try:
            await asyncio.to_thread(store)
        except (OSError, Invalid, IdentityMissing) as error:
            detail = getattr(error, "detail", None) or str(error)
            log.warning("debug artifact %s of %s is not stored: %s", name, run.run_id, detail)
            self._report(f"Debug artifacts cannot be stored: {detail}")

    async def listing(self, run_id: str) -> list[Card]:
        """Return the artifacts of a run, oldest first."""
        return await asyncio.to_thread(files.listing, self._state.root, run_id)

    async def read(self, run_id: str, name: str) -> tuple[Card, bytes]:
        """Return an artifact with its content, decrypted. Raises NotFound, IdentityMissing, SecretUnreadable."""
        card, stored = await asyncio.to_thread(files.read, self._state.root, run_id, name)
        if not card.encrypted:
            return card, stored
        return card, await asyncio.to_thread(self._opened, stored)

    def _opened(self, stored: bytes) -> bytes:
        try:
            return secrets.unseal(stored, secrets.read_identity(self._identity))
        except SecretUnreadable as error:
            raise SecretUnreadable(f"The artifact cannot be read: {error.detail}") from error

    async def remove_old(self) -> None:
        """Remove the artifacts that are older than `retention.debug`."""
        seconds = self._state.definitions.config.retention.debug
        await asyncio.to_thread(files.remove_old, self._state.root, seconds)

    async def remove_session(self, session_id: str) -> None:
        """Remove the artifacts of a deleted session."""
        await asyncio.to_thread(files.remove_session, self._state.root, session_id)


class Recorder:
    """The capture of one run."""

    def __init__(self, capture: Capture, run: Run, level: Level) -> None:
        self._capture = capture
        self._run = run
        self._level: Level = level

    async def keep(self, name: str, content: bytes, *, are_events: bool = False, size: int | None = None) -> None:
        """Store an artifact; `size` is that of the whole content, where only a part is given."""
        await self._capture.keep(self._run, self._level, name, content, are_events=are_events, size=size)

    async def prompt(self, prefix: str, sections: Sequence[Section], tokens: int, omitted: Sequence[str]) -> None:
        """Store the sections of a prompt, each with its size."""
        rows = [{"name": one.name, "bytes": len(one.text.encode()), "text": one.text} for one in sections]
        document = {"sections": rows, "tokens": tokens, "omitted": list(omitted)}
        await self.keep(name_of(prefix, "prompt"), orjson.dumps(document, option=orjson.OPT_INDENT_2))

    @asynccontextmanager
    async def exchange(
        self, prefix: str, request: str, answer: str, unsent: Callable[[], bytes] | None = None
    ) -> AsyncIterator[wire.Exchange]:
        """Store what the task sends and receives meanwhile, as artifacts of these names. `unsent` returns the request
        of a driver that sends nothing."""
        with wire.captured() as exchange:
            try:
                yield exchange
            finally:
                if not exchange.requests and unsent is not None:
                    exchange.requests.append(unsent())
                for at, raw in enumerate(exchange.requests):
                    more = (str(at + 1),) if at else ()
                    await self.keep(name_of(prefix, request, *more), raw)
                for at, got in enumerate(exchange.answers):
                    more = (str(at + 1),) if at else ()
                    if got:
                        size = exchange.sizes[at]
                        await self.keep(name_of(prefix, answer, *more), bytes(got), are_events=True, size=size)


def plain(value: Any) -> bytes:
    """Return any value as JSON, for an artifact."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return dict(value) if isinstance(value, Mapping) else repr(value)
