"""The parts that every kind of target uses: the job, the daemon's services for it, its receipt, and its failures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from kheish.auth.broker import Lease
from kheish.beneath import Door
from kheish.domain.outputs.definition import OutputFile
from kheish.domain.permissions.rules import Scopes
from kheish.errors import (
    AddressNotAllowed,
    FetchFailed,
    Invalid,
    KheishError,
    NotConnected,
    PlatformRefused,
    PlatformUnavailable,
    PlatformUnclear,
)
from kheish.jobs.values import Limits


class NotDelivered(Exception):
    """The base of the failures of an attempt; its text is a reason for users."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Refused(NotDelivered):
    """The target refused it for good: it becomes a dead letter."""


class Gone(Refused):
    """The target refuses all deliveries (410): it is switched off."""


class Passing(NotDelivered):
    """A failure that may pass: the attempt had no effect, and is repeated."""


class Unclear(NotDelivered):
    """An attempt whose end is unknown: it may have arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of an output."""

    asset_id: str
    name: str
    media_type: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An attempt to deliver an output. `output` is the output as receivers get it; `parts_done` parts of an earlier
    attempt have arrived."""

    delivery_id: str
    attempt: int
    name: str
    sink: OutputFile
    target: Mapping[str, Any]
    output: Mapping[str, Any]
    body: bytes
    created_at: str
    parts_done: int = 0
    receipt: str | None = None  # the newest that an earlier attempt journaled

    @property
    def text(self) -> str:
        """The text of the output."""
        return str(self.output["content"])

    @property
    def files(self) -> tuple[File, ...]:
        """The files of the output, in their order after its text."""
        return tuple(
            File(asset_id=one["asset_id"], name=one["name"], media_type=one["media_type"], bytes=one["bytes"])
            for one in self.output["artifacts"]
        )

    @property
    def noted(self) -> str:
        """The text of the output with the names of its files, for a kind that cannot carry them."""
        if not self.files:
            return self.text
        return "\n".join((f"{self.text}\n", "Files:", *(f"- {one.name} ({one.asset_id})" for one in self.files)))


@dataclass(frozen=True, slots=True)
class Sent:
    """A success: the number of parts, and the target's id of the last."""

    parts: int = 1
    receipt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The daemon's services for one attempt."""

    #: lends the value of a slot
    lend: Callable[[str], AbstractAsyncContextManager[Lease]]
    #: journals that the first parts have arrived: how many, of how many, and the target's id of the last
    progress: Callable[[int, int, str | None], Awaitable[None]]
    #: returns the content of a file. Raises Refused
    content: Callable[[File], Awaitable[bytes]]
    #: waits until the target may get its next message
    space: Callable[[float], Awaitable[None]]
    now: Callable[[], float]
    seconds: float
    allow: Sequence[str]
    workspace: Door
    #: the rules for what agents may write there
    rules: Scopes
    environ: Mapping[str, str]
    limits: Limits


class Sender(Protocol):
    """A kind of target: a module with this function, and with `find` if it can look deliveries up."""

    async def send(self, job: Job, way: Way) -> Sent:
        """Deliver. Raises NotDelivered."""
        ...


def failure_of(error: KheishError) -> NotDelivered:
    """Return an error of a client as a failure of an attempt."""
    match error:
        case PlatformUnavailable():
            return Passing(error.detail, retry_after=error.retry_after)
        case PlatformUnclear():
            return Unclear(error.detail)
        case PlatformRefused():
            return Refused(error.detail)
        case NotConnected():
            return Passing(error.detail)
        case FetchFailed():
            return Unclear(error.detail)
        case AddressNotAllowed() | Invalid():  # the same the next time; after a repair, a user replays it
            return Refused(error.detail)
        case _:  # a missing or revoked credential: a user can repair it meanwhile
            return Passing(error.detail)
