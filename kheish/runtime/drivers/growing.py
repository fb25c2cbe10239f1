"""Data that a provider requires back verbatim (signed reasoning), grown from its fragments in linear time."""

from __future__ import annotations

from typing import Any

import orjson

from kheish.runtime.drivers import lenient

_PREFIXES = ("reasoning", "thinking")
_KEYS = frozenset({"extra_content", "provider_specific_fields"})
_TEXTS = frozenset({"text", "thinking", "summary", "data"})


def is_opaque(key: str) -> bool:
    """Return whether a field of an answer is the provider's own, and is sent back to it."""
    return key in _KEYS or key.startswith(_PREFIXES)


class Fields:
    """Fields that arrive in fragments: texts and lists grow, objects take the newer keys."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, key: str, value: Any) -> int:
        """Add a fragment; returns its size in characters."""
        self._pieces.setdefault(key, []).append(value)
        return len(key) + _size(value)

    def joined(self) -> dict[str, Any]:
        """Return the whole fields, each as a JSON value that can be written."""
        return {key: value for key, pieces in self._pieces.items() if (value := written(_join(pieces))) is not None}


def _size(value: Any) -> int:
    """Return the characters of a fragment as JSON; none for a fragment that is too deep to be kept."""
    if isinstance(value, str):
        return len(value)
    return 0 if lenient.is_deep(value) else len(orjson.dumps(lenient.clean(value), default=str))


def written(value: Any) -> Any:
    """Return the value without halves of characters; None for a value that no journal can hold."""
    return None if lenient.is_deep(value) else lenient.clean(value)


def _join(pieces: list[Any]) -> Any:
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    if all(isinstance(piece, list) for piece in pieces):
        return _blocks([item for piece in pieces for item in piece])
    if all(isinstance(piece, dict) for piece in pieces):
        names = dict.fromkeys(key for piece in pieces for key in piece)
        return {key: _join([piece[key] for piece in pieces if key in piece]) for key in names}
    return pieces[-1]


def _blocks(items: list[Any]) -> list[Any]:
    """Return blocks of reasoning: a block continues until it is signed, or until another type or number comes."""
    groups: list[list[Any]] = []
    for item in items:
        if groups and _continues(groups[-1], item):
            groups[-1].append(item)
        else:
            groups.append([item])
    return [_block(group) if isinstance(group[0], dict) else group[0] for group in groups]


def _continues(group: list[Any], item: Any) -> bool:
    last = group[-1]
    return (
        isinstance(last, dict)
        and isinstance(item, dict)
        and last.get("type") == item.get("type")
        and last.get("index") == item.get("index")
        and not last.get("signature")
    )


def _block(group: list[dict[str, Any]]) -> dict[str, Any]:
    out = dict(group[0])
    for key in dict.fromkeys(key for piece in group for key in piece):
        values = [piece[key] for piece in group if piece.get(key) is not None]
        if key in _TEXTS and values and all(isinstance(value, str) for value in values):
            out[key] = "".join(values)
        elif values:
            out[key] = values[-1]
    return out
