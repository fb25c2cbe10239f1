"""The parts of every event: the base class of payloads, and the envelope that a journal line adds."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from operator import attrgetter, call
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, TypeAdapter

from kheish.errors import Damaged

T = TypeVar("T")
_Put = Callable[[Any, Any], None]


@dataclass_transform(kw_only_default=True, frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """Return the class as a frozen dataclass with slots and keyword-only arguments, as all values here are."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


@frozen
class Spilled:
    """A reference to a payload over 16 KiB. Its bytes are in the session's `spill/<sha256>`; `preview` is its
    beginning."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")
    sha256: str
    bytes: int
    preview: str


#: Text, or a reference to it if it is too large for a journal line
Text = str | Spilled
#: Left to right, because a plain mapping would otherwise match before the reference
Arguments = Annotated[Spilled | dict[str, Any], Field(union_mode="left_to_right")]


@frozen
class Event:
    """The base class of all events. `spillable` names the fields whose strings or mappings may be spilled. `written`
    maps fields to their names in journal lines, where those are Python keywords."""

    kind: ClassVar[str] = ""
    stream: ClassVar[str | None] = None  # the journal under journals/ for events without a session
    owned_by: ClassVar[str | None] = None  # in a stream: the field that names the owner of the entry (`state.streams`)
    journal_per_owner: ClassVar[bool] = (
        False  # each owner has its own journal, journals/<stream>/<owner>; the same for all kinds of a stream
    )
    spillable: ClassVar[tuple[str, ...]] = ()
    written: ClassVar[Mapping[str, str]] = {}
    opens: ClassVar[bool] = False  # the first event of a session; its `path` is the session's folder
    inherits: ClassVar[bool] = False  # the session starts from data outside its own journal (`Noun.inherit`)
    checkpointed: ClassVar[bool] = False  # a checkpoint follows in the same group
    #: its line in `git log`, a template of its fields and properties, and of what `daemon.headlines` adds; a commit
    #: follows such an entry at once if the daemon is otherwise idle
    headline: ClassVar[str] = ""
    chained: ClassVar[bool] = False  # its field `prev` gets the sha256 of the previous line in its journal

    def on(self, session: str | None = None, run: str | None = None, *, by: str = "daemon") -> Draft:
        """Return a draft of the event with its session, its run and its actor."""
        return Draft(event=self, session=session, run=run, actor=by)


@frozen
class Draft:
    """An event that has a session and an actor, but no number yet."""

    event: Event
    session: str | None
    run: str | None
    actor: str


@frozen
class Entry:
    """An event as recorded in the journal: `n` counts over the whole state root, `seq` in its journal; `at` is RFC 3339
    UTC."""

    n: int
    seq: int
    at: str
    session: str | None
    run: str | None
    actor: str
    event: Event


@frozen
class Checkpoint(Event):
    """The folded state of the session without its messages, by noun. It replaces all entries before it."""

    kind = "checkpoint"
    spillable = ("nouns",)
    nouns: Arguments
    messages_from: int  # the seq from which messages must be read


@cache
def adapter(cls: Any) -> TypeAdapter[Any]:
    """Return the validator of a value class, made at first use."""
    return TypeAdapter(cls)


def read(line: Mapping[str, Any], kinds: Mapping[str, type[Event]]) -> Entry:
    """Return a journal line as an Entry. Raises Damaged if its kind is unknown or its data is invalid."""
    cls = kinds.get(line["kind"])
    if cls is None:
        raise Damaged(f"Entry {line['n']} has the unknown kind {line['kind']!r}; was it written by a newer Kheish?")
    try:
        event = adapter(cls).validate_python(line["data"])  # type: ignore[arg-type]  # a class is hashable
    except ValueError as error:
        raise Damaged(f"Entry {line['n']} ({line['kind']}) cannot be read: {error}") from error
    return Entry(
        n=line["n"], seq=line["seq"], at=line["at"], session=line.get("session"), run=line.get("run"),
        actor=line["actor"], event=event,
    )  # fmt: skip


def changed(value: T, **fields: Any) -> T:
    """Return the value with some fields replaced, in half the time of `dataclasses.replace`: a run does this thirty
    times."""
    kind: Any = type(value)
    read, puts, write = _members(kind)
    copy: T = object.__new__(kind)
    deque(map(call, puts, repeat(copy), read(value)), maxlen=0)  # a loop outside the interpreter
    for name, new in fields.items():
        write[name](copy, new)
    return copy


@cache
def _members(cls: type) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[_Put, ...], dict[str, _Put]]:
    """Return a reader of all fields of a frozen dataclass with slots, its field writers in order, and its writers by
    name; the writers bypass the frozen guard."""
    names = [one.name for one in dataclasses.fields(cls)]
    read = (lambda value: (getattr(value, names[0]),)) if len(names) == 1 else attrgetter(*names)
    write = {name: getattr(cls, name).__set__ for name in names}
    return read, tuple(write.values()), write
