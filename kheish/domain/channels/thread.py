"""Threads: a root message and its replies, and the turns that a message opened there.

A thread is in memory while its turns are open. Otherwise the index alone has it, and the next message in it carries it
(`ChannelPosted.base`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from typing import Any

from kheish.domain import events
from kheish.domain.channels.channel import key_of
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.events.channels import About, PostBody, ThreadBase
from kheish.domain.shown import View
from kheish.state.event import adapter
from kheish.state.noun import Noun, Tables

TITLE_CHARACTERS = 120


@frozen
class Floor:
    """The turns that a message opened: `spoken` are the agents that replied to it, `replied` their messages,
    `mentioned` those to whom an agent passed on, `granted` the turns of each agent. `leases` are the turns that it
    granted: a message of an earlier one counts for the message that it answers."""

    message_id: str
    n: int
    at: str
    addressed: tuple[str, ...] = ()
    tagged: tuple[str, ...] = ()
    replied_to: str | None = None
    spoken: tuple[str, ...] = ()
    replied: int = 0
    mentioned: tuple[str, ...] = ()
    granted: dict[str, int] = field(default_factory=dict)
    leases: tuple[str, ...] = ()


@frozen
class Thread:
    """A thread as recorded in the journal. `holders` are the turns that have a lease."""

    channel_id: str
    base: ThreadBase
    made: int
    n: int
    floor: Floor | None = None
    holders: tuple[str, ...] = ()

    @property
    def is_active(self) -> bool:
        """Return whether its turns are open."""
        return self.floor is not None or bool(self.holders)


FOLDED = (
    events.ChannelPosted,
    events.ChannelEdited,
    events.ChannelRemoved,
    events.ThreadChanged,
    events.TurnGranted,
    events.TurnEnded,
    events.TurnsClosed,
)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the keys that changed."""
    table: dict[str, Thread] = tables[Thread]
    event: Any = entry.event
    old = _find(table, event)
    match event:
        case events.ChannelPosted(post=post, base=base):
            new = _fold_posted(old or _begin(event.channel_id, base, post, entry), post, entry)
        case events.ThreadChanged(thread=base):
            given = old or Thread(channel_id=event.channel_id, base=base, made=base.made, n=entry.n)
            new = changed(given, base=changed(given.base, status=base.status, about=base.about, title=base.title))
        case _ if old is None:
            return ()
        case events.ChannelEdited(post=post):
            new = changed(old, base=changed(old.base, **_newest(old.base, post.author.key, entry.n)))
        case events.ChannelRemoved(post=post):
            is_opener = old.floor is not None and old.floor.message_id == post.message_id
            new = changed(old, floor=None) if is_opener else old
        case events.TurnGranted():
            new = _fold_granted(old, event)
        case events.TurnEnded():
            new = _fold_ended(old, event)
        case _:
            new = changed(old, floor=None)
    key = key_of(event.channel_id, new.base.thread_id)
    table[key] = changed(new, n=entry.n)
    return (key,)


def _find(table: Mapping[str, Thread], event: Any) -> Thread | None:
    if isinstance(event, events.TurnEnded):
        return next((one for one in table.values() if event.turn_id in one.holders), None)
    if isinstance(event, events.ThreadChanged):
        return table.get(key_of(event.channel_id, event.thread.thread_id))
    thread = event.post.thread if hasattr(event, "post") else event.thread
    return table.get(key_of(event.channel_id, thread))


def _begin(channel_id: str, base: ThreadBase | None, post: PostBody, entry: Entry) -> Thread:
    title = " ".join(post.text[: 4 * TITLE_CHARACTERS].split())[:TITLE_CHARACTERS]
    given = base or ThreadBase(thread_id=post.thread, opened_at=entry.at, made=entry.n, title=title)
    given = given if given.made else changed(given, made=entry.n, title=given.title or title)
    return Thread(channel_id=channel_id, base=given, made=given.made, n=entry.n)


def _fold_posted(old: Thread, post: PostBody, entry: Entry) -> Thread:
    base, key = old.base, post.author.key
    is_agent = post.author.kind == "agent"
    new = {**_newest(base, key, entry.n), "messages": base.messages + 1, "last_at": entry.at}
    if is_agent:
        new["last_speaker"] = post.author.member
    thread = changed(old, base=changed(base, **new))
    if post.opens:
        floor = Floor(
            message_id=post.message_id, n=entry.n, at=entry.at, addressed=post.addressed, tagged=post.tagged,
            replied_to=post.replied_to,
        )  # fmt: skip
        return changed(thread, floor=floor, base=changed(thread.base, status="open"))
    if old.floor is None or post.turn_id not in old.floor.leases:
        return thread
    return changed(thread, floor=_spend(old.floor, key, post))


def _newest(base: ThreadBase, key: str, n: int) -> dict[str, Any]:
    """Return the members of a thread that news by an author changes. An edit is news like a message: a
    member that read the earlier text is a candidate again, within the same replies."""
    newest_other = base.newest if base.newest_by != key else base.newest_other
    return {"newest": n, "newest_by": key, "newest_other": newest_other}


def _spend(floor: Floor, key: str, post: PostBody) -> Floor:
    """Return the floor after an agent's message; the members that it mentions go first."""
    rest = tuple(one for one in floor.mentioned if one not in post.mentioned)
    return changed(
        floor,
        replied=floor.replied + 1,
        spoken=(*(one for one in floor.spoken if one != key), key),
        mentioned=(*post.mentioned, *rest),
    )


def _fold_granted(old: Thread, event: events.TurnGranted) -> Thread:
    base = changed(old.base, seen={**old.base.seen, event.member: event.upto})
    floor = old.floor
    if floor is not None:
        count = floor.granted.get(event.member, 0) + 1
        mentioned = tuple(one for one in floor.mentioned if one != event.member)
        granted = {**floor.granted, event.member: count}
        floor = changed(floor, granted=granted, mentioned=mentioned, leases=(*floor.leases, event.turn_id))
    return changed(old, base=base, floor=floor, holders=(*old.holders, event.turn_id))


def _fold_ended(old: Thread, event: events.TurnEnded) -> Thread:
    base, floor = old.base, old.floor
    if event.shown_to is not None:
        base = changed(base, shown={**base.shown, event.shown_to: event.upto})
    if floor is not None:
        floor = changed(floor, leases=tuple(one for one in floor.leases if one != event.turn_id))
    return changed(old, base=base, floor=floor, holders=tuple(one for one in old.holders if one != event.turn_id))


@frozen
class ThreadView(View):
    """A thread."""

    shown_as = "ChannelThread"
    internal = frozenset({"about_keys", "seen", "shown", "newest", "newest_by", "newest_other", "made", "n"})
    thread: str
    """The id of the thread: that of its first message."""
    channel: str
    title: str
    """The beginning of the first message."""
    status: str
    """`open`, `resolved` or `closed`; a message of a person opens it again."""
    about: tuple[About, ...]
    """The things that it is about."""
    about_keys: str
    """The same as one text."""
    messages: int
    opened_at: str
    last_at: str | None
    last_speaker: str | None
    """The agent that spoke last."""
    seen: dict[str, int]
    """The event number up to which each member had a turn in the thread."""
    shown: dict[str, int]
    """The event number up to which each session has been shown the thread."""
    newest: int
    newest_by: str | None
    newest_other: int
    floor: Floor | None
    """The turns that its newest message of a person opened; null if none are open."""
    holders: tuple[str, ...]
    """The turns that have a lease."""
    made: int
    n: int


def about_key(about: Iterable[About]) -> str:
    """Return what a thread is about as one text, by which lists filter: the first thing counts."""
    return next((f"{one.kind}/{one.id}" for one in about), "")


_OF_BASE = tuple(one.name for one in fields(ThreadBase) if one.name not in ("thread_id", "made"))


def view(thread: Thread) -> ThreadView:
    """Return the thread as the API shows it."""
    base = thread.base
    return ThreadView(
        thread=base.thread_id, channel=thread.channel_id, about_keys=about_key(base.about), floor=thread.floor,
        holders=thread.holders, made=thread.made, n=thread.n, **{name: getattr(base, name) for name in _OF_BASE},
    )  # fmt: skip


def read(doc: Mapping[str, Any]) -> Thread:
    """Return the thread in a document of the index."""
    given = {name: doc[name] for name in _OF_BASE if name in doc}  # an earlier version has no `shown`
    base: ThreadBase = adapter(ThreadBase).validate_python({**given, "thread_id": doc["thread"], "made": doc["made"]})
    floor = adapter(Floor).validate_python(doc["floor"]) if doc["floor"] is not None else None
    return Thread(
        channel_id=doc["channel"], base=base, made=doc["made"], n=doc["n"], floor=floor, holders=tuple(doc["holders"])
    )


ACTIVE = "active"
NOUN = Noun(
    name="channel_thread",
    cls=Thread,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=lambda thread: thread.is_active,
    view=view,
    status=lambda thread: ACTIVE if thread.is_active else thread.base.status,
    filters=("channel", "about_keys"),
    read=read,
)
