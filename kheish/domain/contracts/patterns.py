"""Patterns of a JSON Schema for which Python's `re` takes few steps on a short text: they need no child process.

Such a pattern is a sequence of single characters and anchors, of which one may be repeated. The number of steps on a
text of n characters is then at most n², whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from re import _parser as parser  # type: ignore[attr-defined]  # the parser of re.compile; it has no public name
from typing import Any

_CHARACTERS = {"LITERAL", "NOT_LITERAL", "IN", "ANY"}
_REPETITIONS = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}


def are_cheap(schema: Any) -> bool:
    """Return whether all patterns in a schema take few steps on a short text."""
    return all(_is_cheap(pattern) for pattern in _within(schema))


def _within(schema: Any) -> Iterator[str]:
    """Yield the patterns at any depth, and any other texts in their places."""
    pending = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            pattern, properties = part.get("pattern"), part.get("patternProperties")
            yield from [pattern] if isinstance(pattern, str) else []
            yield from properties if isinstance(properties, Mapping) else []
            pending += part.values()
        elif isinstance(part, list):
            pending += part


def _is_cheap(pattern: str) -> bool:
    try:
        parts = list(parser.parse(pattern))
    except (re.error, RecursionError, OverflowError):
        return False
    repeated = [argument[-1] for kind, argument in parts if str(kind) in _REPETITIONS]
    others = {str(kind) for kind, _ in parts} - _REPETITIONS
    is_flat = others <= _CHARACTERS | {"AT"} and all(_is_character(inner) for inner in repeated)
    return is_flat and len(repeated) <= 1


def _is_character(tree: Any) -> bool:
    return len(tree) == 1 and str(tree[0][0]) in _CHARACTERS
