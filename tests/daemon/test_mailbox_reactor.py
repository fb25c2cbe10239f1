"""The reactor of mailboxes looks again while the index is behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kheish.daemon.reactors.mailboxes import Mailboxes
from kheish.errors import Unavailable

NOW = "2026-11-29T12:00:00.000000Z"


class Index:
    """An index that has a message only when it has caught up."""

    def __init__(self) -> None:
        self.is_behind, self.is_lost = True, False
        self.asked = 0

    def overdue(self, noun: str, now: str) -> list[str]:
        return [] if self.is_behind or now == NOW else ["s/msg_1"]  # its time is to come

    def things(self, noun: str, **query: Any) -> Any:
        self.asked += 1
        return SimpleNamespace(items=[], next_cursor=None)

    async def caught_up(self, timeout: float = 5.0) -> None:
        if self.is_lost:
            raise Unavailable("The index is behind; retry in a moment.")
        self.is_behind = False


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def reactor(index: Index) -> Mailboxes:
    state = SimpleNamespace(index=index, caught_up=index.caught_up)
    return Mailboxes(cast(Any, state), damaged=lambda path, reason: None)


async def test_a_message_that_the_index_lacks_still_expires(reactor: Mailboxes, index: Index) -> None:
    await reactor.tick(NOW)
    assert not index.is_behind and reactor._may_expire


async def test_what_an_index_that_stays_behind_prevents_is_tried_again(reactor: Mailboxes, index: Index) -> None:
    index.is_lost = True
    await reactor.tick(NOW)
    assert reactor._may_expire and reactor._has_untold
    index.is_lost = False
    await reactor.tick(NOW)
    assert index.asked == 1 and not reactor._has_untold
