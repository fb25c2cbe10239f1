"""Reading JSON as it is meant: halves of characters, NaN, endless numbers, and nothing that could not be written again.

`orjson` reads what is correct, at ten times the speed; what it refuses is read once more, with mercy. Text may then
hold lone surrogates: halves of a pair that a server escaped one by one, and bytes of a character that it cut in two.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, cast

import orjson

from kheish.runtime.drivers import bounds

_DIGITS = 18  # of a whole number that every reader can hold
_NOT_BYTES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_HELD = 3  # bytes of a character that wait for the last one
_RUN = 64  # of halves and bytes at the end of a text that are looked at


def _nothing(word: str) -> None:
    """Read what is no number of JSON (NaN, 1e999) as nothing."""


def refuse(word: str) -> None:
    """Refuse what is no number of JSON. Raises ValueError."""
    raise ValueError(f"{word[:20]} is no number")


def loads(data: bytes | str, odd: Callable[[str], Any] = _nothing) -> Any:
    """The value; `odd` reads what is no number. Raises ValueError for what is no JSON, and for what is too deep."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if len(data) > bounds.LENIENT:
            raise
        text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data

        def real(digits: str) -> float | None:
            number = float(digits)
            return number if math.isfinite(number) else cast("None", odd(digits))

        def whole(digits: str) -> int | float | None:
            return int(digits) if len(digits) <= _DIGITS else real(digits)

        try:
            return json.loads(
                text.removeprefix("\ufeff"), strict=False, parse_constant=odd, parse_int=whole, parse_float=real
            )
        except RecursionError:
            raise ValueError("nested too deep") from error


def joined(text: str) -> str:
    """The text with its halves of characters put together; what stays alone becomes U+FFFD."""
    if text.isascii() or not _SURROGATES.search(text):
        return text
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _NOT_BYTES.sub("\ufffd", paired).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def cut(text: str) -> tuple[str, str]:
    """What can be shown of `text` now, and what may be the beginning of a character."""
    start = len(text)
    while start > max(0, len(text) - _RUN) and "\ud800" <= text[start - 1] <= "\udfff":
        start -= 1
    for end in range(len(text), max(start, len(text) - _HELD) - 1, -1):
        if "\ufffd" not in joined(text[start:end]):
            return text[:end], text[end:]
    return text, ""


def clean(value: Any) -> Any:
    """The value with whole characters only, where the slow reader read it."""
    match value:
        case str():
            return joined(value)
        case dict():
            return {joined(str(key)): clean(item) for key, item in value.items()}
        case list():
            return [clean(item) for item in value]
    return value


def is_deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than `bounds.DEPTH`; journals could not hold it."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(bounds.DEPTH + 1):
        items = (item for one in level for item in (one.values() if isinstance(one, dict) else one))
        level = [item for item in items if isinstance(item, (dict, list))]
        if not level:
            return False
    return True
