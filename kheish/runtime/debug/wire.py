"""The bytes of an exchange with a server or a program, where they are sent and received.

Drivers and hooks call these functions. Without capture, each costs a look at a context variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

#: bytes of an answer that are held for its artifact, more than are kept
MOST = 5 * 1024 * 1024


@dataclass(slots=True)
class Exchange:
    """The requests of an exchange, and the answer to each as far as it came."""

    requests: list[bytes] = field(default_factory=list)
    answers: list[bytearray] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # of the whole answers

    def sent(self, raw: bytes) -> None:
        """Note a request."""
        self.requests.append(raw)
        self.answers.append(bytearray())
        self.sizes.append(0)

    def got(self, raw: bytes) -> None:
        """Note a piece of the newest answer."""
        if self.answers:
            self.sizes[-1] += len(raw)
            self.answers[-1] += raw[: max(0, MOST - len(self.answers[-1]))]


_CURRENT: ContextVar[Exchange | None] = ContextVar("kheish_debug_exchange", default=None)


def current() -> Exchange | None:
    """Return the exchange that is being captured; None without capture."""
    return _CURRENT.get()


def sent(raw: bytes) -> None:
    """Note a request, if it is captured."""
    if (exchange := _CURRENT.get()) is not None:
        exchange.sent(raw)


def got(raw: bytes) -> None:
    """Note a piece of an answer, if it is captured."""
    if (exchange := _CURRENT.get()) is not None:
        exchange.got(raw)


@contextmanager
def captured(exchange: Exchange | None = None) -> Iterator[Exchange]:
    """Capture the exchange of this task, and of the tasks that it starts; in a given object, if there is one."""
    exchange = exchange or Exchange()
    token = _CURRENT.set(exchange)
    try:
        yield exchange
    finally:
        _CURRENT.reset(token)
