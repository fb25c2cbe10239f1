"""Announcements that a kill prevented: made at the next start, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kheish.daemon.channels.announcing import Announcing
from kheish.domain import events
from kheish.domain.channels import proposing
from kheish.domain.channels.channel import CHANNELS
from kheish.domain.channels.definition import ChannelFile
from kheish.domain.channels.proposal import Proposal
from kheish.domain.definitions import Definition
from kheish.state import pins
from tests.support.stateful import Played

ROOM = {"members": [{"member": "db", "kind": "agent", "session": "s"}], "announce": ["task_completed"]}


class Clock:
    """A clock that a test moves."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def p(tmp_path: Path, clock: Clock) -> Iterator[Played]:
    played = Played(tmp_path, clock=clock)
    played.session()
    yield played
    played.index.close()


def in_force(p: Played) -> Announcing:
    """The announcing of a daemon that has the channel."""
    p.state.definitions.by_kind[CHANNELS]["room"] = Definition(
        kind=CHANNELS, id="room", path="channels/room.yaml", value=ChannelFile.model_validate(ROOM), data={}, raw=b"",
        digest="",
    )  # fmt: skip
    announcing = Announcing(p.state)
    announcing.learn()
    return announcing


async def proposals(p: Played) -> list[tuple[str, int]]:
    async with pins.owner(p.state, CHANNELS, "room"):
        return [(one.text, one.count) for one in p.state.table(Proposal, f"{CHANNELS}/room").values()]


def end_task(p: Played, title: str) -> None:
    p.state.append(events.TaskCreated(task_id="task_1", title=title, status="pending").on("s"))
    p.state.append(events.TaskEnded(task_id="task_1", status="completed").on("s"))
    p.flush()


def start(p: Played) -> None:
    p.state.append(events.DaemonStarted(version="1").on())
    p.flush()


async def test_what_a_kill_prevented_is_announced_once(p: Played) -> None:
    start(p)
    end_task(p, "tidy up")  # and a kill, before it is announced
    start(p)

    await in_force(p).take_up()
    p.flush()
    assert await proposals(p) == [("The task tidy up is completed.", 1)]

    for _ in range(2):  # it is neither made nor counted again, by this start or by a later one
        await in_force(p).take_up()
        p.flush()
        start(p)
    assert await proposals(p) == [("The task tidy up is completed.", 1)]


async def test_what_was_announced_and_dismissed_is_not_announced_again(p: Played) -> None:
    start(p)
    end_task(p, "tidy up")
    start(p)
    await in_force(p).take_up()
    async with pins.owner(p.state, CHANNELS, "room"):
        [one] = p.state.table(Proposal, f"{CHANNELS}/room").values()
        p.state.append(proposing.close(one, "dismissed", by="ada"))
    p.flush()
    start(p)

    await in_force(p).take_up()
    p.flush()

    assert await proposals(p) == []


@pytest.mark.parametrize("later", [0.0, 60.0])
async def test_only_ends_just_before_the_kill_are_looked_at(p: Played, clock: Clock, later: float) -> None:
    start(p)
    end_task(p, "tidy up")
    clock.now += later
    p.session("t")
    p.flush()
    start(p)

    await in_force(p).take_up()
    p.flush()

    assert bool(await proposals(p)) is (later == 0.0)
