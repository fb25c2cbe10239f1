"""Two nouns of streams that no release has: letters, with a journal for each box, and fires, all in one journal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kheish.domain import events, nouns
from kheish.domain.events import Entry
from kheish.state.event import Event, Text, changed, frozen
from kheish.state.noun import Noun, Nouns, Tables


@frozen
class LetterSent(Event):
    """A letter is in a box."""

    kind = "letter.sent"
    stream = "boxes"
    owned_by = "box_id"
    journal_per_owner = True
    spillable = ("text",)
    box_id: str
    id: str
    text: Text = ""


@frozen
class LetterMoved(Event):
    """A letter has another text."""

    kind = "letter.moved"
    stream = "boxes"
    owned_by = "box_id"
    journal_per_owner = True
    spillable = ("text",)
    box_id: str
    id: str
    text: Text


@frozen
class LetterEnded(Event):
    """A letter is done with."""

    kind = "letter.ended"
    stream = "boxes"
    owned_by = "box_id"
    journal_per_owner = True
    box_id: str
    id: str


@frozen
class FireSent(LetterSent):
    """A schedule fires."""

    kind = "fire.sent"
    stream = "fires"
    journal_per_owner = False


@frozen
class FireMoved(LetterMoved):
    """A fire has another text."""

    kind = "fire.moved"
    stream = "fires"
    journal_per_owner = False


@frozen
class FireEnded(LetterEnded):
    """A fire is over."""

    kind = "fire.ended"
    stream = "fires"
    journal_per_owner = False


@frozen
class Letter:
    """A letter, as its events tell it."""

    box_id: str
    id: str
    text: Text
    made: int
    n: int
    is_final: bool = False


@frozen
class Fire(Letter):
    """A fire, which has all that a letter has."""


LETTERS = (LetterSent, LetterMoved, LetterEnded)
FIRES = (FireSent, FireMoved, FireEnded)
#: by stream: the noun, and what sends, changes and ends it
KINDS: dict[str, tuple[type[Letter], tuple[Any, Any, Any]]] = {"boxes": (Letter, LETTERS), "fires": (Fire, FIRES)}


def fold(cls: type[Letter], table: dict[str, Letter], entry: Entry) -> Iterable[str]:
    """Take one entry in; returns the ids that changed."""
    event: Any = entry.event
    match event:
        case LetterSent():
            table[event.id] = cls(box_id=event.box_id, id=event.id, text=event.text, made=entry.n, n=entry.n)
        case _ if event.id not in table:
            return ()
        case LetterMoved(text=text):
            table[event.id] = changed(table[event.id], text=text, n=entry.n)
        case LetterEnded():
            table[event.id] = changed(table[event.id], is_final=True, n=entry.n)
    return (event.id,)


def _noun(name: str, cls: type[Letter], folded: tuple[type[Event], ...]) -> Noun:
    def read(doc: dict[str, Any]) -> Letter:
        text = doc["text"]
        return cls(**{**doc, "text": events.Spilled(**text) if isinstance(text, dict) else text})

    def folding(given: Tables, entry: Entry) -> Iterable[str]:
        return fold(cls, given[cls], entry)

    return Noun(
        name=name,
        cls=cls,
        folded=frozenset(folded),
        fold=folding,
        keep=lambda value: not value.is_final,
        view=dataclasses.asdict,
        status=lambda value: "ended" if value.is_final else "open",
        read=read,
    )


@contextmanager
def registered() -> Iterator[None]:
    """Have the daemon know both nouns, as a line in each table would."""
    trial = (_noun("letter", Letter, LETTERS), _noun("fire", Fire, FIRES))
    before: Any = nouns.NOUNS
    kinds = (*LETTERS, *FIRES)
    nouns.NOUNS = Nouns((*before, *trial), events.kinds)
    for cls in kinds:
        setattr(events, cls.__name__, cls)
    events.kinds.cache_clear()
    try:
        yield
    finally:
        nouns.NOUNS = before
        for cls in kinds:
            delattr(events, cls.__name__)
        events.kinds.cache_clear()
