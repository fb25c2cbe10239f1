"""JSON Schema validation with a step limit: even a small schema can run forever over a small value, and
uninterruptibly.

`anyOf` of two references, nested thirty times, is 2^30 checks; `uniqueItems` compares each item with every other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

from kheish.domain.contracts import dialects

#: keywords evaluated for one value; some seconds, if all of them are the costliest
MOST = 400_000
#: the cost of a reference in plain keywords
_REFERENCE = 20

_left: ContextVar[list[int]] = ContextVar("left")


class TooManySteps(Exception):
    """The error for a schema that takes too many steps on this value."""


def counting(steps: int = MOST) -> None:
    """Start a count of at most `steps`, for each value that is validated."""
    _left.set([steps])


@cache
def validator_class(dialect: str) -> Any:
    """Return a validator of a dialect that counts each keyword (call `counting` first). It raises TooManySteps."""
    from jsonschema import validators

    plain = dialects.validator(dialect)
    keywords = {**plain.VALIDATORS, "uniqueItems": _unique}
    extend: Any = validators.extend
    return extend(plain, {name: _counted(name, check) for name, check in keywords.items()})


def _counted(name: str, check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    cost = _REFERENCE if name in ("$ref", "$dynamicRef", "$recursiveRef") else 1

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        remaining = _left.get()
        remaining[0] -= cost
        if remaining[0] < 0:
            raise TooManySteps
        yield from check(validator, value, instance, schema) or ()

    return counted


def _unique(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if wanted and validator.is_type(instance, "array") and len({_same(item) for item in instance}) < len(instance):
        yield ValidationError("has items that are not unique")


def _same(value: Any) -> Hashable:
    """Return a key that is equal for values that JSON Schema calls equal: 1 and 1.0, but not 1 and true."""
    if isinstance(value, dict):
        return "object", frozenset((name, _same(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(map(_same, value))
    return isinstance(value, bool), value
