"""Pages of a list of things: the rows that belong to one, and the cursor of the next."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kheish.errors import InvalidCursor

#: documents that a page with a condition reads: a list in which few meet it must not be read whole
LOOKED = 2000
_CURSOR_BYTES = 19  # a letter and a number within SQLite's range
#: the condition on the documents of a page
Keep = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: its rows, and the cursor of the next page (None at the end)."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def most(limit: int, keep: Keep | None) -> int:
    """Return the number of rows that a page needs: one more than it reads, which says whether others follow."""
    return (limit if keep is None else LOOKED) + 1


def page(rows: Iterable[tuple[int, bytes | str]], limit: int, keep: Keep | None) -> Page:
    """Return the page of `(made, document)` rows, of which there are at most `most`. With a condition, it may have
    fewer than `limit` items although others follow."""
    items: list[dict[str, Any]] = []
    last = 0
    for number, (made, doc) in enumerate(rows, start=1):
        if len(items) == limit or number == most(limit, keep):
            return Page(items, cursor_before(last))
        last, item = made, orjson.loads(doc)
        if keep is None or keep(item):
            items.append(item)
    return Page(items, None)


def cursor_before(made: int) -> str:
    """Return the cursor of things that are older than one, by the number of its first entry."""
    return base64.urlsafe_b64encode(b"m%d" % made).decode().rstrip("=")


def position(cursor: str) -> int:
    """Return the number of a cursor. Raises InvalidCursor."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        if raw[:1] != b"m" or not raw[1:].isdigit() or len(raw) > _CURSOR_BYTES:
            raise ValueError(cursor)
        return int(raw[1:])
    except ValueError as error:
        raise InvalidCursor("The cursor is not from a list; restart without it.") from error
