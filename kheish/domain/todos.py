"""The to-do list that an agent maintains for itself."""

from __future__ import annotations

from collections.abc import Iterable

from kheish.domain import events
from kheish.domain.events import Entry, Todo, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun, always


@frozen
class TodoList:
    """The session's to-do list, as last written."""

    session_id: str
    items: tuple[Todo, ...]
    made: int
    n: int


FOLDED = (events.TodoWritten,)


def fold(table: dict[str, TodoList], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None and isinstance(entry.event, events.TodoWritten)
    old = table.get(entry.session)
    table[entry.session] = TodoList(
        session_id=entry.session, items=entry.event.items, made=old.made if old else entry.n, n=entry.n
    )
    return (entry.session,)


@frozen
class TodoView(View):
    """The to-do list of a session."""

    session_id: str
    items: tuple[Todo, ...]


def view(todo: TodoList) -> TodoView:
    """Return the list as its Record shows it."""
    return TodoView(session_id=todo.session_id, items=todo.items)


NOUN = Noun(
    name="todo",
    cls=TodoList,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[TodoList], entry),
    keep=always,
    view=view,
    status=lambda todo: None,
    record="tasks/todo.yaml",
)
