"""Arbitration: the next step of a channel's turns, as a function of its folded state and the time.

It reads and changes nothing else, so that a restart comes to the same step, and so does a reader who asks why an agent
waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from hashlib import sha256
from typing import Any

from kheish import ids
from kheish.domain.channels.channel import HOUR, Channel
from kheish.domain.channels.definition import ChannelFile, MemberFile
from kheish.domain.channels.thread import Floor, Thread
from kheish.domain.channels.turn import Turn
from kheish.domain.events import changed, frozen

#: threads of a channel with open turns; the oldest beyond are closed
FLOORS = 64
#: members that an entry names as passed over, the first in rank: a large room would have all the others each time
PASSED = 10
_LAST = 1 << 30


@frozen
class Room:
    """Everything that a decision reads. `threads` are those with open turns, `turns` those with a lease, `load` the
    unfinished runs of members' sessions, `away` the reasons why members cannot run."""

    channel: Channel
    file: ChannelFile
    threads: Sequence[Thread]
    turns: Sequence[Turn]
    now: float
    load: Mapping[str, int] = field(default_factory=dict)
    away: Mapping[str, str] = field(default_factory=dict)


@frozen
class Place:
    """A member's place in the queue of a thread. `ready_at`: the end of its cooldown; `away`: the reason why it cannot
    run; `held`: what holds it up, whatever its rank."""

    turn_id: str
    thread: str
    member: str
    rank: tuple[str, ...]
    ready_at: float = 0.0
    away: str | None = None
    held: str | None = None


@frozen
class Grant:
    """A lease is due."""

    place: Place
    replies_left: int
    expires_at: float


@frozen
class Renew:
    """A lease is over, but no other member waits."""

    turn: Turn
    expires_at: float


@frozen
class Expire:
    """A lease is over, and another member waits."""

    turn: Turn


@frozen
class Leave:
    """The holder of a lease is no member any more."""

    turn: Turn


@frozen
class Close:
    """No member will get a turn in a thread any more, whatever the time."""

    thread: Thread
    reason: str
    passed: tuple[Place, ...] = ()


@frozen
class Pause:
    """Agents have posted as much as they may in an hour."""

    count: int


@frozen
class Wait:
    """Nothing is due before this time, in seconds since 1970."""

    until: float


Step = Grant | Renew | Expire | Leave | Close | Pause | Wait


def next_step(room: Room) -> Step | None:
    """Return the next step; None while there is none, whatever the time."""
    if (
        gone := next((turn for turn in room.turns if not room.file.has(turn.member, turn.session_id)), None)
    ) is not None:
        return Leave(turn=gone)
    if room.file.paused or room.channel.is_paused:
        return None
    floors = _floors(room)
    if (step := _overdue(room, floors) or _closing(room, floors)) is not None:
        return step
    best = _first(room, floors) if len(room.turns) < room.file.policy.speakers else None
    if best is not None:
        count, most = posts_of_hour(room.channel, room.now), room.file.policy.posts_per_hour
        if count >= most:
            return Pause(count=count)
        if count + len(room.turns) < most:
            thread, member = best
            lease = ids.duration(room.file.policy.lease)
            return Grant(
                place=_place(room, thread, member), replies_left=_left(room, thread), expires_at=room.now + lease
            )
    times = [turn.ends for turn in room.turns]
    if (rested := _rested(room, floors)) is not None:
        times.append(rested)
    return Wait(until=min(times)) if times else None


def queue(room: Room) -> list[Place]:
    """Return the members that wait for a turn, in the order in which they would get one, each with the reasons."""
    holders = {turn.member for turn in room.turns}
    places: list[Place] = []
    for thread in _floors(room):
        if _left(room, thread) > 0:
            waiting = [one for one in _eligible(room, thread) if one.member not in holders]
            waiting.sort(key=lambda one: _order(room, thread, one))
            places += [_place(room, thread, one) for one in waiting]
    return sorted(places, key=lambda one: (one.away is not None, one.ready_at if one.ready_at > room.now else 0.0))


def posts_of_hour(channel: Channel, now: float) -> int:
    """Return the number of agents' messages in the last hour."""
    return sum(1 for one in channel.hour if one > now - HOUR)


def turn_id(channel_id: str, floor: Floor, member: str) -> str:
    """Return the id of a member's next turn on a floor. It is the same for its place in the queue and for its lease."""
    text = f"{channel_id}\n{floor.message_id}\n{member}\n{floor.granted.get(member, 0)}"
    return f"turn_{sha256(text.encode()).hexdigest()[:26]}"


# --- leases and ends --------------------------------------------------------------------------------------------------


def _overdue(room: Room, floors: Sequence[Thread]) -> Step | None:
    """Return what becomes of the first lease that is over: it is handed over if another member could speak."""
    late = min((turn for turn in room.turns if turn.ends <= room.now), key=lambda turn: turn.ends, default=None)
    if late is None:
        return None
    rest = tuple(turn for turn in room.turns if turn.turn_id != late.turn_id)
    others = changed(room, turns=rest)
    if _first(others, [_without(thread, late.turn_id) for thread in floors], but=late.member) is not None:
        return Expire(turn=late)
    return Renew(turn=late, expires_at=room.now + ids.duration(room.file.policy.lease))


def _closing(room: Room, floors: Sequence[Thread]) -> Close | None:
    """Return the end of the first thread whose turns are over: its replies are spent, or no member has to speak."""
    for number, thread in enumerate(floors):
        floor = thread.floor
        if floor is None or floor.leases:
            continue
        if floor.replied >= room.file.policy.replies:
            return _close(room, thread, "the replies are spent")
        if next(_eligible(room, thread), None) is None:
            return Close(thread=thread, reason="no other agent has to speak")
        if number >= FLOORS:
            return _close(room, thread, f"{FLOORS} newer threads wait")
    return None


def _close(room: Room, thread: Thread, reason: str) -> Close:
    members = sorted(_eligible(room, thread), key=lambda one: _order(room, thread, one))
    return Close(thread=thread, reason=reason, passed=tuple(_place(room, thread, one) for one in members[:PASSED]))


# --- candidates -------------------------------------------------------------------------------------------------------


def _floors(room: Room) -> list[Thread]:
    """Return the threads with open turns; the one with the newest message of a person goes first."""
    threads = [one for one in room.threads if one.floor is not None]
    return sorted(threads, key=lambda one: -(one.floor.n if one.floor is not None else 0))


def _first(room: Room, floors: Sequence[Thread], but: str | None = None) -> tuple[Thread, MemberFile] | None:
    """Return the member that gets the next turn, whatever the number of speakers, and its thread."""
    holders = {turn.member for turn in room.turns}
    cooldown = ids.duration(room.file.policy.cooldown)
    ready = {
        one.member
        for one in room.file.agents
        if one.member not in holders and one.member != but and one.member not in room.away
        if room.channel.spoke.get(one.member, -cooldown) + cooldown <= room.now
    }
    for thread in floors if ready else ():
        if _left(room, thread) > 0 and (able := [one for one in _eligible(room, thread) if one.member in ready]):
            return thread, min(able, key=lambda one: _order(room, thread, one))
    return None


def _rested(room: Room, floors: Sequence[Thread]) -> float | None:
    """Return the earliest end of the cooldown of a member that waits for it."""
    holders = {turn.member for turn in room.turns}
    cooldown = ids.duration(room.file.policy.cooldown)
    times = {id: at + cooldown for id, at in room.channel.spoke.items() if at + cooldown > room.now}
    resting = {id for id in times if id not in holders and id not in room.away}
    for id in sorted(resting, key=lambda one: times[one]):
        if any(_left(room, one) > 0 and id in {each.member for each in _eligible(room, one, id)} for one in floors):
            return times[id]
    return None


def _left(room: Room, thread: Thread) -> int:
    """Return the number of replies that are left in a thread; each lease reserves one."""
    floor = thread.floor
    return room.file.policy.replies - floor.replied - len(floor.leases) if floor is not None else 0


def _eligible(room: Room, thread: Thread, only: str | None = None) -> Iterator[MemberFile]:
    """Yield the agents (or one of them) that may speak in a thread at some time: those that were not shown all of
    it."""
    floor, base = thread.floor, thread.base
    assert floor is not None
    for member in room.file.agents if only is None else filter(None, [room.file.by_id.get(only)]):
        id = member.member
        if member.kind != "agent":
            continue
        newest = base.newest_other if base.newest_by == id else base.newest
        if not member.muted and newest > base.seen.get(id, 0) and _participates(room.file, floor, member):
            yield member


def _participates(file: ChannelFile, floor: Floor, member: MemberFile) -> bool:
    match file.participation(member):
        case "manual_only":
            return member.member in floor.addressed
        case "selected_only":
            return member.member in floor.addressed or member.member in floor.mentioned
        case _:
            return True


def _order(room: Room, thread: Thread, member: MemberFile) -> tuple[Any, ...]:
    """Return the rank of a member: smaller is earlier, and no two members have the same."""
    floor, id = thread.floor, member.member
    assert floor is not None
    is_tagged = id in floor.tagged and room.file.participation(member) == "prefer_selected"
    return (
        _index(floor.mentioned, id), _index(floor.addressed, id), id != floor.replied_to, id in floor.spoken,
        id != thread.base.last_speaker, not is_tagged, room.channel.spoke.get(id, 0.0), room.load.get(id, 0), id,
    )  # fmt: skip


def _place(room: Room, thread: Thread, member: MemberFile) -> Place:
    """Return a member's place with its reasons."""
    floor, id = thread.floor, member.member
    assert floor is not None
    spoke = room.channel.spoke.get(id)
    ready_at = spoke + ids.duration(room.file.policy.cooldown) if spoke is not None else 0.0
    held = tuple(_obstacles(room, id, ready_at))
    return Place(
        turn_id=turn_id(room.channel.channel_id, floor, id), thread=thread.base.thread_id, member=id,
        rank=(*held, *_reasons(_order(room, thread, member))), ready_at=ready_at, away=room.away.get(id),
        held=next(iter(held), None),
    )  # fmt: skip


def _obstacles(room: Room, id: str, ready_at: float) -> Iterator[str]:
    """Yield what holds a member up, whatever its rank."""
    if id in room.away:
        yield f"cannot run: {room.away[id].rstrip('.')}"
    if room.file.paused or room.channel.is_paused:
        yield "the channel is paused"
    if ready_at > room.now:
        yield f"on cooldown until {_second(ready_at)}"


def _reasons(order: tuple[Any, ...]) -> Iterator[str]:
    mentioned, addressed, is_other, has_spoken, is_not_last, is_untagged, spoke, load, _ = order
    if mentioned < _LAST:
        yield "mentioned by an agent"
    if addressed < _LAST:
        yield f"addressed, number {addressed + 1}"
    if not is_other:
        yield "its message was replied to"
    yield "has replied to this message" if has_spoken else "has not replied to this message yet"
    if not is_not_last:
        yield "spoke last in the thread"
    if not is_untagged:
        yield "a tag matches"
    yield f"last spoke at {_second(spoke)}" if spoke else "has never spoken here"
    if load:
        yield f"{load} unfinished runs"


def _second(at: float) -> str:
    return f"{ids.stamp(at)[:19]}Z"


def _index(members: Sequence[str], id: str) -> int:
    return members.index(id) if id in members else _LAST


def _without(thread: Thread, turn_id: str) -> Thread:
    floor = thread.floor
    assert floor is not None
    return changed(thread, floor=changed(floor, leases=tuple(one for one in floor.leases if one != turn_id)))
