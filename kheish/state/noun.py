"""The definition of a noun for the state: how entries fold into it, which values stay in memory, and how others see
it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kheish.state import event as reading
from kheish.state.event import Entry, Event

Tables = dict[type, dict[str, Any]]
Fold = Callable[[Tables, Entry], Iterable[str]]


def always(_: Any) -> bool:
    """Return whether a value stays in memory (`Noun.keep`): it always does."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A kind of thing. `name` is its key in checkpoints and in the index. `record` is its file in the session's folder
    (`runs/{id}.yaml`); `filed` returns its file in the state root if it is stored elsewhere.

    `keep` decides which values stay in memory; the index has all of them. A session's values are dropped at its next
    checkpoint, an owner's (of a noun with `read`) at once. No event changes a value after `keep` dropped it. A
    session's noun without `keep` is folded from entries (the conversation); an owner's noun always has `keep`. `view`
    is the form that API, index and Record show; None means internal.

    Two fields serve nouns that are folded from entries. `needs_from(value, seq)` returns the first entry that a reader
    needs (`seq` if that is the next). `inherit(root, path, session_id, needs_from)` reads the initial values of a fork.
    `is_busy` returns whether a session may be active.

    `derive` adds the values that the checkpoints of earlier versions lack. A value that is not `recorded` has no file.
    """

    name: str
    cls: type
    folded: frozenset[type[Event]]
    fold: Fold
    keep: Callable[[Any], bool] | None
    view: Callable[[Any], Any] | None = None
    status: Callable[[Any], str | None] = lambda value: str(value.status)
    record: str | None = None
    recorded: Callable[[Any], bool] = always
    filters: tuple[str, ...] = ()  # fields of `view` that lists are filtered by: the index has an index for each
    filed: Callable[[Any], str] | None = None
    pending: str | None = None  # the folder under pending/ where a user answers it
    needs_from: Callable[[Any, int], int] | None = None
    inherit: Callable[[Path, str, str, int | None], Any] | None = None
    is_busy: Callable[[Any], bool] | None = None
    read: Callable[[dict[str, Any]], Any] | None = None  # a stream's noun: reads a document
    derive: Callable[[Tables], None] | None = None

    def kept(self, value: Any) -> bool | None:
        """Return whether an owner's value stays in memory; None for a session's."""
        return None if self.read is None else value is None or self.keep is None or self.keep(value)


class Nouns:
    """The nouns of a state in folding order, and the kinds of entries that its journals may have."""

    def __init__(self, nouns: Sequence[Noun], kinds: Callable[[], Mapping[str, type[Event]]]) -> None:
        self._nouns = tuple(nouns)
        self._folding: dict[type[Event], tuple[Noun, ...]] = {}
        self._busy = [(noun.cls, noun.is_busy) for noun in nouns if noun.is_busy is not None]
        self.kinds = kinds
        self.by_class: Mapping[type, Noun] = {noun.cls: noun for noun in nouns}
        self.by_name: Mapping[str, Noun] = {noun.name: noun for noun in nouns}
        #: nouns that checkpoints hold, and nouns that are folded from entries instead
        self.checkpointed = tuple((noun, noun.keep) for noun in nouns if noun.keep is not None and noun.read is None)
        self.replayed = tuple(noun for noun in nouns if noun.keep is None and noun.read is None)

    def __iter__(self) -> Iterator[Noun]:
        return iter(self._nouns)

    @property
    def filters(self) -> Mapping[str, tuple[str, ...]]:
        """Return the fields that lists are filtered by, for each noun that has any."""
        return {noun.name: noun.filters for noun in self._nouns if noun.filters}

    def folding(self, event: Event) -> tuple[Noun, ...]:
        """Return the nouns that an event folds into, in order."""
        kind = type(event)
        nouns = self._folding.get(kind)
        if nouns is None:
            nouns = self._folding[kind] = tuple(noun for noun in self._nouns if kind in noun.folded)
        return nouns

    def empty(self) -> Tables:
        """Return tables without values."""
        return {noun.cls: {} for noun in self._nouns}

    def is_busy(self, tables: Tables, session_id: str) -> bool:
        """Return whether a session may be active."""
        return any((value := tables[cls].get(session_id)) is not None and is_busy(value) for cls, is_busy in self._busy)

    def decode(self, line: Mapping[str, Any]) -> Entry:
        """Return a journal line as an Entry. Raises Damaged."""
        return reading.read(line, self.kinds())

    def streams(self, *, journal_per_owner: bool) -> Mapping[str, list[type[Event]]]:
        """Return the streams with the classes of their entries: those with a journal for each owner, or those with a
        shared journal."""
        streams: dict[str, list[type[Event]]] = {}
        for cls in self.kinds().values():
            if cls.stream is not None and cls.journal_per_owner == journal_per_owner:
                streams.setdefault(cls.stream, []).append(cls)
        return streams
