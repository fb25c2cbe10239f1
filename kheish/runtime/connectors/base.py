"""Kinds of connectors that installed packages bring (entry point `kheish.connectors`): verify and parse, or poll."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kheish.domain.connectors.arrival import Arrival, Parsed

GROUP = "kheish.connectors"

#: returns the value of a slot that the connector's file names: `token`, `app_token` or `verify`
Secret = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An unverified request to `/v1/ingress/<connector>`. `headers` have lower-case names."""

    connector: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    options: Mapping[str, Any]
    now: float
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """The loop of a connector. `offset` is the one of the last arrival; `deliver` returns when its receipt is
    durable."""

    connector: str
    options: Mapping[str, Any]
    offset: int | None
    secret: Secret
    deliver: Callable[[Arrival], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorKind:
    """A kind of connectors. `receive` verifies a request (it raises SignatureInvalid) and returns what it means; `poll`
    fetches arrivals until it is cancelled. It has one of them, or both."""

    name: str
    receive: Callable[[Request], Awaitable[Parsed]] | None = None
    poll: Callable[[Poll], Awaitable[None]] | None = None
