"""The to-do list that an agent keeps for itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kheish.domain import events
from kheish.domain.events import Entry, Todo, frozen


@frozen
class TodoList:
    """The session's to-do list, as last written."""

    session_id: str
    items: tuple[Todo, ...]
    made: int
    n: int


FOLDED = (events.TodoWritten,)


def fold(table: dict[str, TodoList], entry: Entry) -> Iterable[str]:
    """Take one entry in; returns the ids that changed."""
    assert entry.session is not None and isinstance(entry.event, events.TodoWritten)
    old = table.get(entry.session)
    table[entry.session] = TodoList(
        session_id=entry.session, items=entry.event.items, made=old.made if old else entry.n, n=entry.n
    )
    return (entry.session,)


def view(todo: TodoList) -> dict[str, Any]:
    """The list as its Record shows it."""
    return {"session_id": todo.session_id, "items": todo.items}
