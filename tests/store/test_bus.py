"""The bus: listeners hear each batch in order, and one that leaves hears no more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kheish.store import bus
from kheish.store.bus import Bus, Frame


def frame(n: int, kind: str = "x") -> Frame:
    return Frame(n, kind, "s", None, b"{}")


def test_listeners_hear_batches_in_order_until_they_leave() -> None:
    it, first, second = Bus(), list[int](), list[int]()
    stop = it.listen(lambda frames: first.extend(one.n for one in frames))
    it.listen(lambda frames: second.extend(one.n for one in frames))
    it.publish([frame(1), frame(2)])
    stop()
    stop()
    it.publish([frame(3)])
    assert (first, second) == ([1, 2], [1, 2, 3])


def test_a_listener_may_leave_while_it_listens() -> None:
    it, heard = Bus(), list[str]()

    def once(frames: Sequence[Frame]) -> None:
        heard.append("once")
        stop()

    stop = it.listen(once)
    it.listen(lambda frames: heard.append("always"))
    for n in (1, 2):
        it.publish([frame(n)])
    assert heard == ["once", "always", "always"]


def test_recent_frames_are_durable_ones_and_bounded() -> None:
    it = Bus()
    it.publish([frame(0, "model.delta"), *(frame(n) for n in range(1, bus.RECENT + 10))])
    assert (it.recent[0].n, it.recent[-1].n, len(it.recent)) == (10, bus.RECENT + 9, bus.RECENT)


def test_it_is_heard_while_somebody_listens() -> None:
    it = Bus()
    assert not it.is_heard
    stop = it.listen(lambda frames: None)
    assert it.is_heard
    stop()
    assert not it.is_heard


async def test_waiting_ends_with_a_frame_that_matches_or_with_the_time() -> None:
    it = Bus()
    waiting = asyncio.create_task(it.wait(lambda one: one.n == 2, 10))
    await asyncio.sleep(0)
    it.publish([frame(1)])
    it.publish([frame(2), frame(2)])
    it.publish([frame(2)])
    assert await waiting is True
    assert await it.wait(lambda one: True, 0.01) is False
    assert not it.is_heard
