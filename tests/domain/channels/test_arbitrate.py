"""Arbitration, case by case: participation, leases, the loop guard, the queue and its reasons; addressing; the cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from bench import channels as bench
from kheish import ids
from kheish.domain.channels import addressing, arbitrate, framing
from kheish.domain.channels.arbitrate import Close, Expire, Grant, Leave, Pause, Renew, Room, Wait
from kheish.domain.channels.channel import Channel
from kheish.domain.channels.definition import ChannelFile
from kheish.domain.channels.thread import Floor, Thread
from kheish.domain.channels.turn import Turn, TurnState
from kheish.domain.events.channels import ThreadBase
from kheish.store.git import textconv

NOW = 1_800_000_000.0


def file(*members: Any, **policy: Any) -> ChannelFile:
    rows = [one if isinstance(one, dict) else {"member": one} for one in members]
    rows = [{"kind": "agent", "session": f"s-{one['member']}", **one} for one in rows]
    return ChannelFile.model_validate({"members": rows, "policy": policy})


def thread(id: str = "t", n: int = 10, **floor: Any) -> Thread:
    base = ThreadBase(thread_id=id, opened_at="", made=n, newest=n, newest_by="human:ann", **floor.pop("base", {}))
    return Thread(channel_id="c", base=base, made=n, n=n, floor=Floor(message_id=id, n=n, at="", **floor))


def room(given: ChannelFile, *threads: Thread, turns: Any = (), channel: Any = None, **more: Any) -> Room:
    known = Channel(channel_id="c", made=1, n=1, **(channel or {}))
    return Room(channel=known, file=given, threads=threads or (thread(),), turns=turns, now=NOW, **more)


def lease(member: str, left: float, id: str = "t") -> Turn:
    return Turn(
        turn_id=f"turn-{member}", channel_id="c", thread=id, member=member, state=TurnState.GRANTED, rank=(), made=1,
        n=1, expires_at=ids.stamp(NOW + left), session_id=f"s-{member}",
    )  # fmt: skip


def speaker(given: Room) -> str | None:
    step = arbitrate.next_step(given)
    return step.place.member if isinstance(step, Grant) else None


@pytest.mark.parametrize(
    ("mode", "floor", "speaks"),
    [
        ("manual_only", {}, False),
        ("manual_only", {"addressed": ("a",)}, True),
        ("manual_only", {"mentioned": ("a",)}, False),
        ("selected_only", {}, False),
        ("selected_only", {"addressed": ("a",)}, True),
        ("selected_only", {"mentioned": ("a",)}, True),
        ("prefer_selected", {}, True),
        ("always_listen", {}, True),
    ],
)
def test_participation_decides_who_may_speak(mode: str, floor: dict[str, Any], speaks: bool) -> None:
    given = room(file({"member": "a", "participation": mode}), thread(**floor))
    assert speaker(given) == ("a" if speaks else None)


def test_each_criterion_goes_before_the_next() -> None:
    given = file("a", "b", {"member": "c", "tags": ["db"]}, "d", "e", "f")
    base = {"last_speaker": "b"}
    floor: dict[str, Any] = {"mentioned": ("f",), "addressed": ("e", "d"), "tagged": ("c",), "base": base}
    names = [one.member for one in arbitrate.queue(room(given, thread(**floor)))]
    assert names == ["f", "e", "d", "b", "c", "a"]
    late = room(given, thread(replied_to="a", spoken=("c",)), channel={"spoke": {"b": NOW - 60, "d": NOW - 90}})
    assert [one.member for one in arbitrate.queue(late)] == ["a", "e", "f", "d", "b", "c"]
    busy = room(file("a", "b"), load={"a": 1})
    assert [one.member for one in arbitrate.queue(busy)] == ["b", "a"], "fewest runs"
    assert "1 unfinished runs" in arbitrate.queue(busy)[1].rank


def test_a_member_on_cooldown_waits_and_its_place_says_so() -> None:
    given = room(file("a"), channel={"spoke": {"a": NOW - 5}})
    assert arbitrate.next_step(given) == Wait(until=NOW + 10)
    [place] = arbitrate.queue(given)
    assert place.rank[0] == f"on cooldown until {ids.stamp(NOW + 10)[:19]}Z"
    assert speaker(room(file("a", cooldown="0s"), channel={"spoke": {"a": NOW}})) == "a"


def test_a_lease_that_is_over_is_kept_or_handed_over() -> None:
    held = thread(leases=("turn-a",))
    alone = room(file("a"), held, turns=(lease("a", -1),))
    assert arbitrate.next_step(alone) == Renew(turn=lease("a", -1), expires_at=NOW + 60)
    assert isinstance(arbitrate.next_step(room(file("a", "b"), held, turns=(lease("a", -1),))), Expire)
    muted = room(file("a", {"member": "b", "muted": True}), held, turns=(lease("a", -1),))
    assert isinstance(arbitrate.next_step(muted), Renew)
    cooling = room(file("a", "b"), held, turns=(lease("a", -1),), channel={"spoke": {"b": NOW}})
    assert isinstance(arbitrate.next_step(cooling), Renew)
    assert arbitrate.next_step(room(file("a", "b"), held, turns=(lease("a", 30),))) == Wait(until=NOW + 30)


def test_spent_replies_close_and_pass_over() -> None:
    step = arbitrate.next_step(room(file("a", "b", replies=1), thread(replied=1, spoken=("a",))))
    assert isinstance(step, Close) and [one.member for one in step.passed] == ["b", "a"]
    seen = room(file("a"), thread(base={"seen": {"a": 10}}))
    assert isinstance(arbitrate.next_step(seen), Close)
    threads = [thread(f"t{number}", number + 1) for number in range(arbitrate.FLOORS + 1)]
    step = arbitrate.next_step(room(file("a"), *threads))
    assert isinstance(step, Close) and step.thread.base.thread_id == "t0", "the oldest of too many"


def test_the_loop_guard_and_pauses() -> None:
    times = tuple(NOW - number for number in range(3))
    given = file("a", "b", posts_per_hour=3)
    assert arbitrate.next_step(room(given, channel={"hour": times})) == Pause(count=3)
    assert speaker(room(given, channel={"hour": tuple(one - 3600 for one in times)})) == "a"
    assert arbitrate.next_step(room(given, channel={"paused_at": "x"})) is None
    one_left = room(file("a", "b", posts_per_hour=3, speakers=2), turns=(lease("a", 9),), channel={"hour": times[:2]})
    assert arbitrate.next_step(one_left) == Wait(until=NOW + 9), "the lease has the last one"


def test_who_is_away_keeps_its_place() -> None:
    given = room(file("a", "b"), away={"a": "no session"})
    assert speaker(given) == "b"
    assert [(one.member, one.away) for one in arbitrate.queue(given)] == [("b", None), ("a", "no session")]


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("@db and @Ann Lee", ("db", "ann")),
        ("ask @DB.", ("db",)),
        ("@dbx, mail@db, @@db, @ann", ("ann",)),
        ("@net-ops, then @net", ("net-ops", "net")),
        ("(@ann lee) @Ann Leeds", ("ann",)),
        ("@db-x @db.x @db--x @db_x @net-ops-2", ()),
        ("@db... (@net-), @ann's", ("db", "net", "ann")),
        ("nothing", ()),
        ("@🤖, and @🚀!", ("bot", "ship")),
        ("@👩\u200d🔧 @❤ @❤\ufe0f", ("tech", "love")),
        ("@👩 @🚀\u200d🔧 @🤖x", ()),
        ("@jose\u0301 @JOS\u00c9", ("jose",)),
        ("@हि @ह", ("ha",)),
        ("@(root) @c++", ("root", "cpp")),
    ],
)
def test_mentions_are_names_and_ids(text: str, members: tuple[str, ...]) -> None:
    names = {"db": "db", "ann": "Ann Lee", "net": "Netty", "net-ops": "net-ops"}
    names |= {"bot": "🤖", "ship": "🚀", "tech": "👩\u200d🔧", "love": "❤\ufe0f", "jose": "Jos\u00e9", "ha": "ह"}
    names |= {"root": "(root)", "cpp": "c++"}
    assert addressing.mentions(text, names) == members


def test_tags_are_words_of_a_text() -> None:
    given = file({"member": "a", "tags": ["db"]}, {"member": "b", "tags": ["load balancer"]}, "c")
    assert addressing.tagged(given, "The #DB, behind the Load Balancer.") == ("a", "b")
    assert addressing.tagged(given, "dbs balance loads") == ()
    given = file(*({"member": one, "tags": [tag]} for one, tag in zip("abc", ("c++", "🔥", "k8s.io"), strict=True)))
    assert addressing.tagged(given, "A C++ service🔥 on k8s.io.") == ("a", "b", "c")
    assert addressing.tagged(given, "c+, c++x, xc++ and k8s.ios") == ()


@pytest.mark.parametrize(
    "members",
    [
        [{"member": "a", "kind": "agent"}],
        [{"member": "a", "kind": "human", "session": "s"}],
        [{"member": "a", "kind": "human", "person": "A", "muted": True}],
        [{"member": "a", "kind": "agent", "session": "s"}, {"member": "a", "kind": "agent", "session": "t"}],
        [{"member": "a", "kind": "agent", "session": "s"}, {"member": "b", "kind": "agent", "session": "s"}],
        [
            {"member": "a", "kind": "agent", "session": "s"},
            {"member": "b", "kind": "agent", "session": "t", "name": "A"},
        ],
        [{"member": "a", "kind": "agent", "session": "s", "name": "@x"}],
        [{"member": "a", "kind": "agent", "session": "s", "name": "x\u200dy"}],
        [
            {"member": "a", "kind": "agent", "session": "s", "name": "Jos\u00e9"},
            {"member": "b", "kind": "agent", "session": "t", "name": "JOSE\u0301"},
        ],
    ],
)
def test_members_that_cannot_be_told_apart_are_refused(members: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        ChannelFile.model_validate({"members": members})


def test_a_turn_shows_what_is_new_and_fits() -> None:
    author = {"name": "ann", "member": None, "kind": "human"}
    docs = [
        {"made": n, "n": n, "message_id": f"p{n}", "removed_at": None, "tainted_by": "web_fetch" if n == 7 else None,
         "from": {**author, "member": "me", "kind": "agent"} if n == 8 else author, "text": "x" * 4000}
        for n in range(30, 0, -1)
    ]  # fmt: skip
    seen = framing.select(docs, after=20, member="me")
    assert [one["made"] for one in seen.messages] == list(range(21, 31)) and not seen.left_out
    whole = framing.select(docs, after=0, member="me")
    assert whole.left_out and len(whole.messages) == 16 and whole.tainted_by is None
    assert framing.select(docs[20:], after=0, member="me").tainted_by == "web_fetch, by ann"
    changed = {3: {"n": 31}, 4: {"n": 32, "removed_at": "now"}, 8: {"n": 33, "removed_at": "now"},
               29: {"n": 34, "removed_at": "now"}}  # fmt: skip
    later = [{**one, **changed.get(int(str(one["made"])), {})} for one in docs]
    news = [one["made"] for one in framing.select(later, after=28, member="me").messages]
    assert news == [3, 4, 8, 30], "edited, removed, its own that was removed; one that it never saw is not shown"


@pytest.mark.parametrize("threads", [1, arbitrate.FLOORS])
def test_a_decision_with_fifty_members_takes_less_than_two_milliseconds(threads: int) -> None:
    assert min(bench.decision(threads, rounds=5) for _ in range(5)) < bench.DECISION


def test_git_log_reads_as_a_conversation() -> None:
    post = {"author": {"name": "Ann"}, "thread": "t1", "text": "Is it slow?"}
    line = {"v": 1, "n": 1, "seq": 1, "at": "2026-11-29T10:00:00.000000Z", "kind": "channel.posted",
            "stream": "channels/c", "actor": "token:ann", "data": {"channel_id": "c", "post": post}}  # fmt: skip
    told = "\n".join(textconv.lines_of(json.dumps(line)))
    assert "Ann in t1" in told and "Is it slow?" in told and "channel_id" not in told


def test_the_turn_of_an_agent_that_is_no_member_any_more_ends() -> None:
    held, turn = thread(leases=("turn-a",)), lease("a", 9)
    assert arbitrate.next_step(room(file("a", "b"), held, turns=(turn,))) == Wait(until=NOW + 9)
    for gone in (file("b"), file({"member": "a", "session": "another"}, "b")):
        assert arbitrate.next_step(room(gone, held, turns=(turn,))) == Leave(turn=turn)
    paused = room(file("b"), held, turns=(turn,), channel={"paused_at": "x"})
    assert arbitrate.next_step(paused) == Leave(turn=turn)
    muted = file({"member": "a", "muted": True}, "b")
    assert arbitrate.next_step(room(muted, held, turns=(turn,))) == Wait(until=NOW + 9), "it ends as usual"


def test_a_place_says_what_holds_it_up() -> None:
    held = room(file("a"), away={"a": "There is no session 's-a'."}, channel={"paused_at": "x", "spoke": {"a": NOW}})
    [place] = arbitrate.queue(held)
    assert place.rank[:3] == (
        "cannot run: There is no session 's-a'", "the channel is paused",
        f"on cooldown until {ids.stamp(NOW + 15)[:19]}Z",
    )  # fmt: skip
    assert place.held == place.rank[0] and arbitrate.queue(room(file("a")))[0].held is None
