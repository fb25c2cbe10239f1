"""The outcomes of requests to a server, as plain values: nothing here needs the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Era = Literal["legacy", "modern"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiated:
    """The version that both sides speak, and the server's name and version."""

    version: str
    era: Era
    server: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The result of a call, as plain data."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsInput:
    """The requests of a server before it answers, by its own keys: `{method, params}`; and its state, to be sent
    back."""

    requests: Mapping[str, Mapping[str, Any]]
    state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTask:
    """A task of the server, which is asked for again after `poll` seconds. `requests`: what it asks meanwhile;
    `result`: of a completed one; `error`: of one that failed or was cancelled."""

    task_id: str
    status: str
    message: str = ""
    poll: float = 1.0
    requests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    error: str | None = None


Outcome = Done | NeedsInput | RemoteTask


class ServerError(Exception):
    """An error that the server answered with, in one sentence. `not_executed`: nothing of the request was done."""

    def __init__(self, message: str, *, not_executed: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.not_executed = not_executed


class NotConnected(Exception):
    """The error that there is no connection to a server, with the reason in a few words; nothing was sent."""


class Broken(Exception):
    """The error that the connection broke during a request, so that its outcome is unknown."""
