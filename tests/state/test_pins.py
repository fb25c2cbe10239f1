"""Pins: what is in use stays loaded."""

from __future__ import annotations

import pytest

from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.events.playbooks import RELEASES
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.playbooks.versions import Version
from kheish.domain.sessions import end as session_end
from kheish.domain.sessions.session import Session
from kheish.errors import NotFound, SessionDeleted
from kheish.state import pins
from tests.state.test_streams import filled
from tests.support.stateful import Played, approval


def evict(p: Played) -> None:
    """Let go of everything that may go."""
    p.flush()
    for part in (*p.state.sessions.values(), *p.state.owners.values()):
        part.used = 0
    p.state.evict(0)


async def test_a_session_in_use_stays_and_pins_nest(p: Played) -> None:
    async with p.state.using("s"):
        async with p.state.using("s"):
            evict(p)
        evict(p)
        assert p.state.get(Session, "s").session_id == "s"
    evict(p)
    assert p.state.find(Session, "s") is None


async def test_a_session_that_cannot_be_loaded_is_not_held(p: Played) -> None:
    with pytest.raises(NotFound):
        async with p.state.using("new"):
            raise AssertionError
    async with pins.session_or_new(p.state, "new"):
        p.session("new")
        evict(p)
        assert p.state.find(Session, "new") is not None
    evict(p)
    assert p.state.find(Session, "new") is None


async def test_the_session_of_a_thing_stays_with_it(p: Played) -> None:
    p.session("t", while_waiting="park")
    p.waiting(approval("a1"), session_id="t")
    evict(p)
    assert p.state.find(Approval, "a1") is None
    async with pins.thing(p.state, Approval, "a1") as ended:
        evict(p)
        assert ended is None
        assert approvals.resolve(p.state, "a1", "deny", by="me", via="api").status == "denied"
    with pytest.raises(NotFound):
        async with pins.thing(p.state, Approval, "none"):
            raise AssertionError


async def test_a_deletion_in_between_is_told_as_such(p: Played) -> None:
    with pytest.raises(SessionDeleted):
        async with p.state.using("s"):
            session_end.delete(p.state, "s", by="me")
            p.state.get(Session, "s")
    with pytest.raises(SessionDeleted):
        async with p.state.using("s"):
            raise AssertionError


async def test_an_owner_in_use_stays(p: Played) -> None:
    async with pins.owner(p.state, RELEASES, "p0"):
        await filled(p, 1)
        evict(p)
        assert set(playbooks.versions(p.state, "p0")) == {"1.0.0", "1.1.0"}
    evict(p)
    assert p.state.find(Version, "p0@1.0.0") is None
