"""What every event is made of: the payload's base class, and the envelope that a journal line adds."""

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
    """A frozen dataclass with slots and keyword arguments only: what all values here are."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


@frozen
class Spilled:
    """A payload over 16 KiB: its bytes are in the session's `spill/<sha256>`; `preview` is its beginning."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")
    sha256: str
    bytes: int
    preview: str


#: Text, or where the text is too large for a journal line, the reference to it
Text = str | Spilled
#: Left to right, because a plain mapping would otherwise win over the reference
Arguments = Annotated[Spilled | dict[str, Any], Field(union_mode="left_to_right")]


@frozen
class Event:
    """Base of all. `spillable` names the fields whose strings or mappings may be spilled; `written` gives those that
    a journal line calls otherwise (a word that Python keeps for itself)."""

    kind: ClassVar[str] = ""
    stream: ClassVar[str | None] = None  # the journal under journals/ for events that belong to no session
    owned_by: ClassVar[str | None] = None  # of those: the field that names whose entry it is (`state.streams`)
    journal_per_owner: ClassVar[bool] = (
        False  # each owner has its own: journals/<stream>/<owner>; all of a stream agree
    )
    spillable: ClassVar[tuple[str, ...]] = ()
    written: ClassVar[Mapping[str, str]] = {}
    opens: ClassVar[bool] = False  # a session begins with it; its `path` is the folder
    inherits: ClassVar[bool] = False  # and what it begins with is not in its own journal (`Noun.inherit`)
    checkpointed: ClassVar[bool] = False  # a checkpoint follows in the same group
    chained: ClassVar[bool] = False  # its field `prev` gets the sha256 of the line before, in its journal

    def on(self, session: str | None = None, run: str | None = None, *, by: str = "daemon") -> Draft:
        """Say where it happened and who caused it."""
        return Draft(event=self, session=session, run=run, actor=by)


@frozen
class Draft:
    """An event that has a place but no number yet."""

    event: Event
    session: str | None
    run: str | None
    actor: str


@frozen
class Entry:
    """An event as the journal has it: `n` over the whole state root, `seq` in its journal, `at` RFC 3339 UTC."""

    n: int
    seq: int
    at: str
    session: str | None
    run: str | None
    actor: str
    event: Event


@frozen
class Checkpoint(Event):
    """The folded state of the session without its messages, by noun; replaces what came before it."""

    kind = "checkpoint"
    spillable = ("nouns",)
    nouns: Arguments
    messages_from: int  # the seq from which messages must be read


@cache
def adapter(cls: Any) -> TypeAdapter[Any]:
    """Return the validator of a value class, made at first use."""
    return TypeAdapter(cls)


def read(line: Mapping[str, Any], kinds: Mapping[str, type[Event]]) -> Entry:
    """Return a journal line as an Entry. Raises Damaged where its kind is unknown or its data doesn't fit."""
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
    """The value with some fields replaced. Half the time of `dataclasses.replace`, which a run does thirty times."""
    kind: Any = type(value)
    read, puts, write = _members(kind)
    copy: T = object.__new__(kind)
    deque(map(call, puts, repeat(copy), read(value)), maxlen=0)  # a loop without the interpreter
    for name, new in fields.items():
        write[name](copy, new)
    return copy


@cache
def _members(cls: type) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[_Put, ...], dict[str, _Put]]:
    """How all fields of a frozen dataclass with slots are read at once, and each is written past its guard."""
    names = [one.name for one in dataclasses.fields(cls)]
    read = (lambda value: (getattr(value, names[0]),)) if len(names) == 1 else attrgetter(*names)
    write = {name: getattr(cls, name).__set__ for name in names}
    return read, tuple(write.values()), write
