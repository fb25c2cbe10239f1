"""Elicitation by MCP servers, as hooks read and answer it: fields by their names, values as they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kheish.domain.events import QuestionItem

_SKIP = "-"


def name_of(item: QuestionItem) -> str:
    """Return the name of the field that an item asks for."""
    return item.id.partition(".")[2]


def shown(items: Sequence[QuestionItem]) -> dict[str, Any]:
    """Return what is asked: the message, and the fields with their choices."""
    fields = {
        name_of(item): {
            "title": item.header,
            "required": not any(option.id == _SKIP for option in item.options),
            "choices": [option.label for option in item.options if option.id != _SKIP] or None,
        }
        for item in items
    }
    return {"message": "\n".join(item.text for item in items)[:10_000], "requested_fields": fields}


def answers(items: Sequence[QuestionItem], content: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Return the answers to the items that a hook's content gives; None if it lacks one, or has one that is no
    choice."""
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        given = _answer(item, content.get(name_of(item)))
        if given is None:
            return None
        found[item.id] = given
    return found


def _answer(item: QuestionItem, value: Any) -> dict[str, Any] | None:
    if name_of(item) == "confirm" and value is None:
        value = True
    if value is None:
        return {"selected": [_SKIP]} if any(option.id == _SKIP for option in item.options) else None
    choices = [option for option in item.options if option.id != _SKIP]
    if not choices:
        return {"selected": [], "text": value if isinstance(value, str) else str(value)}
    wanted = [_label(one) for one in (value if isinstance(value, list) else [value])]
    by_label = {option.label.casefold(): option.id for option in choices}
    if any(one not in by_label for one in wanted):
        return None
    return {"selected": [by_label[one] for one in wanted], "text": None}


def _label(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value).casefold()
