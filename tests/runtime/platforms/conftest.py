"""A lease without a broker, and a stand-in of a platform."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from kheish.auth.broker import Lease
from tests.support.receiver import Receiver, receive

TOKEN = "123456:secret-token-of-the-bot"


class Lending:
    """Leases of one token, as the broker makes them."""

    def __init__(self) -> None:
        self.value = TOKEN
        self.leases: list[Lease] = []

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Lease]:
        lease = Lease(lease_id="l", subject="output:x", slot="bot", audience="output:x", made=0.0, value=self.value)
        self.leases.append(lease)
        yield lease


@pytest.fixture
def lending() -> Lending:
    return Lending()


@pytest.fixture
def site() -> Iterator[Receiver]:
    with receive() as site:
        yield site
