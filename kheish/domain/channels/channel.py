"""A channel's own state: pauses, who spoke when, and the quotas of the last hour. The file says what is wanted.

It is a fold of `journals/channels/<id>`. Its size depends on the members and the quotas, not on the messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.events.channels import CHANNELS as CHANNELS
from kheish.domain.shown import View
from kheish.state.noun import Noun, Tables, always

if TYPE_CHECKING:
    from kheish.state.state import State

HOUR = 3600.0
#: the reason of a pause after too many posts of agents in an hour
LOOP_GUARD = "loop_guard"
#: authors whose newest proposals are remembered, and proposals of each
_PROPOSERS, _PROPOSALS = 200, 16


@frozen
class Channel:
    """A channel as recorded in the journal. `spoke` has the time of each agent's newest message, `hour` the times of
    agents' messages in the last hour, `proposed` those of each agent's proposals."""

    channel_id: str
    made: int
    n: int
    messages: int = 0
    last_at: str | None = None
    pause_reason: str | None = None
    paused_by: str | None = None
    paused_at: str | None = None
    spoke: dict[str, float] = field(default_factory=dict)
    hour: tuple[float, ...] = ()
    proposed: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def is_paused(self) -> bool:
        """Return whether the API, or the loop guard, paused it."""
        return self.paused_at is not None


FOLDED = (
    events.ChannelPosted,
    events.ChannelPaused,
    events.ChannelResumed,
    events.ChannelProposed,
)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    table: dict[str, Channel] = tables[Channel]
    event: Any = entry.event
    old = table.get(event.channel_id) or Channel(channel_id=event.channel_id, made=entry.n, n=entry.n)
    table[old.channel_id] = changed(old, n=entry.n, **_fold_change(old, event, entry))
    return (old.channel_id,)


def _fold_change(old: Channel, event: Any, entry: Entry) -> dict[str, Any]:
    now = ids.seconds_of(entry.at)
    match event:
        case events.ChannelPosted(post=post):
            new: dict[str, Any] = {"messages": old.messages + 1, "last_at": entry.at}
            if post.author.kind == "agent":
                new["spoke"] = {**old.spoke, post.author.key: now}
                new["hour"] = (*(one for one in old.hour if one > now - HOUR), now)
            return new
        case events.ChannelPaused(reason=reason):
            return {"pause_reason": reason, "paused_by": entry.actor, "paused_at": entry.at}
        case events.ChannelResumed():
            return {"pause_reason": None, "paused_by": None, "paused_at": None, "hour": ()}
        case events.ChannelProposed():  # one that joins another counts, too: for the one who made it
            by = entry.actor
            times = (*(one for one in old.proposed.get(by, ()) if one > now - HOUR), now)[-_PROPOSALS:]
            others = [(name, given) for name, given in old.proposed.items() if name != by]
            return {"proposed": {**dict(others[-_PROPOSERS:]), by: times}}
        case _:
            return {}


@frozen
class ChannelView(View):
    """A channel's own state."""

    channel_id: str
    messages: int
    last_at: str | None
    pause_reason: str | None
    paused_by: str | None
    paused_at: str | None
    spoke: dict[str, float]
    hour: tuple[float, ...]
    proposed: dict[str, tuple[float, ...]]
    made: int
    n: int


def view(channel: Channel) -> ChannelView:
    """Return the channel as the index has it."""
    return ChannelView(**{one.name: getattr(channel, one.name) for one in fields(ChannelView)})


def read(doc: Mapping[str, Any]) -> Channel:
    """Return the channel in a document of the index."""
    proposed = {name: tuple(times) for name, times in doc["proposed"].items()}
    return Channel(**{**doc, "hour": tuple(doc["hour"]), "proposed": proposed})


NOUN = Noun(
    name="channel",
    cls=Channel,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=always,
    view=view,
    status=lambda channel: "paused" if channel.is_paused else "active",
    read=read,
)


def find(state: State, channel_id: str) -> Channel:
    """Return a loaded channel; one without entries is empty."""
    return state.find(Channel, channel_id) or Channel(channel_id=channel_id, made=0, n=0)


def key_of(channel_id: str, id: str) -> str:
    """Return the key of a message, thread or proposal: callers choose ids, which are unique in a channel only."""
    return f"{channel_id}/{id}"
