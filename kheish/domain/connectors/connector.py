"""Connectors as the journal has them: the position of a poll loop, moved chats, and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun, Tables, always

if TYPE_CHECKING:
    from kheish.state.state import State

#: moved chats that are remembered for a connector
MOST_MOVED = 1000


@frozen
class Connector(View):
    """A connector's own state."""

    connector: str
    received: int
    refused: int
    last_at: str | None
    offset: int | None
    moved: dict[str, str]
    """Chats by their new ids, with the ids that keys of sessions have."""
    made: int
    n: int


FOLDED = (events.IngressReceived, events.OffsetMoved, events.ChatMoved)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    table: dict[str, Connector] = tables[Connector]
    event: Any = entry.event
    id = event.connector_id
    old = table.get(id) or blank(id, made=entry.n)
    table[id] = changed(old, n=entry.n, **_fold_change(old, event, entry))
    return (id,)


def _fold_change(old: Connector, event: Any, entry: Entry) -> dict[str, Any]:
    new: dict[str, Any] = {"offset": event.offset} if event.offset is not None else {}
    match event:
        case events.IngressReceived(refused=refused):
            new |= {"received": old.received + 1, "last_at": entry.at, "refused": old.refused + (refused is not None)}
        case events.ChatMoved(old=before, new=after):
            moved = {**old.moved, after: old.moved.get(before, before)}
            new["moved"] = dict(list(moved.items())[-MOST_MOVED:])
    return new


def blank(id: str, made: int = 0) -> Connector:
    """Return a connector without entries."""
    return Connector(connector=id, received=0, refused=0, last_at=None, offset=None, moved={}, made=made, n=made)


NOUN = Noun(
    name="connector",
    cls=Connector,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=always,
    view=lambda one: one,
    status=lambda _: "known",
    read=lambda doc: Connector(**doc),
)


def find(state: State, id: str) -> Connector:
    """Return a loaded connector; one without entries is blank."""
    return state.find(Connector, id) or blank(id)


def known_place(moved: Mapping[str, str], chat: str) -> str:
    """Return the id that keys of sessions have for a chat."""
    return moved.get(chat, chat)


def plain_place(moved: Mapping[str, str], place: Mapping[str, Any]) -> dict[str, Any]:
    """Return a place with the id that its chat had first."""
    chat = place.get("chat")
    return {**place, **({"chat": known_place(moved, str(chat))} if chat is not None else {})}


def present_place(moved: Mapping[str, str], place: Mapping[str, Any]) -> dict[str, Any]:
    """Return a place with the id that its chat has now."""
    chat = place.get("chat")
    if chat is None:
        return dict(place)
    first = known_place(moved, str(chat))
    present = [new for new, old in moved.items() if old == first]
    return {**place, "chat": present[-1] if present else chat}
