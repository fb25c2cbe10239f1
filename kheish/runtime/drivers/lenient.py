"""A lenient JSON reader: it repairs halves of characters, NaN and huge numbers, and its result can always be written.

`orjson` reads correct JSON, at ten times the speed; rejected input is read again leniently. Text may then hold lone
surrogates: halves of a pair that a server escaped separately, and bytes of a character that it cut in two.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, cast

import orjson

from kheish.runtime.drivers import bounds

_LEAST, _GREATEST = -(1 << 63), (1 << 64) - 1  # of the integers that orjson writes
_FLOAT_BITS = 1023  # of the largest integer that a float can stand for
_DIGITS = 18  # digits of an integer that every reader can hold
_NOT_BYTES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_HELD = 3  # bytes of a character that wait for the last one
_RUN = 64  # halves and bytes at the end of a text that are checked


def _nothing(word: str) -> None:
    """Parse an invalid number (NaN, 1e999) as null."""


def refuse(word: str) -> None:
    """Raise ValueError for an invalid number."""
    raise ValueError(f"{word[:20]} is no number")


def loads(data: bytes | str, odd: Callable[[str], Any] = _nothing) -> Any:
    """Return the value; `odd` parses invalid numbers. Raises ValueError for invalid or too deep JSON."""
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
    """Return the text with its halves of characters joined; unpaired ones become U+FFFD."""
    if text.isascii() or not _SURROGATES.search(text):
        return text
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _NOT_BYTES.sub("\ufffd", paired).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def cut(text: str) -> tuple[str, str]:
    """Split `text` into the part that can be shown now, and a possible beginning of a character."""
    start = len(text)
    while start > max(0, len(text) - _RUN) and "\ud800" <= text[start - 1] <= "\udfff":
        start -= 1
    for end in range(len(text), max(start, len(text) - _HELD) - 1, -1):
        if "\ufffd" not in joined(text[start:end]):
            return text[:end], text[end:]
    return text, ""


def clean(value: Any) -> Any:
    """Return the value with whole characters only, if the slow reader parsed it, and without integers of more than 64
    bits, which no JSON of ours can hold."""
    match value:
        case str():
            return joined(value)
        case int() if not _LEAST <= value <= _GREATEST:
            return float(value) if value.bit_length() <= _FLOAT_BITS else None
        case dict():
            return {joined(str(key)): clean(item) for key, item in value.items()}
        case list():
            return [clean(item) for item in value]
    return value


def is_deep(value: Any) -> bool:
    """Return whether a JSON value is nested deeper than `bounds.DEPTH`; journals could not hold it."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(bounds.DEPTH + 1):
        items = (item for one in level for item in (one.values() if isinstance(one, dict) else one))
        level = [item for item in items if isinstance(item, (dict, list))]
        if not level:
            return False
    return True
