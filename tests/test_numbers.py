"""Numbers, durations and times at their limits: what documents and requests may hold can be stored and written."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

import kheish
from kheish import ids

#: numbers without a bound of their own: a percentage is checked where it is used
_FREE = {("ReleasePlaybook", "percent")}
_SKIPPED = ("kheish.client", "kheish.generate")


def _models() -> Iterator[type[BaseModel]]:
    for module in pkgutil.walk_packages(kheish.__path__, "kheish."):
        if not module.name.startswith(_SKIPPED) and not module.name.endswith("__main__"):
            for value in vars(importlib.import_module(module.name)).values():
                is_own = isinstance(value, type) and value.__module__.startswith("kheish.")
                if is_own and issubclass(value, BaseModel):
                    yield value


def _is_unbounded(schema: dict[str, Any]) -> bool:
    kinds = [schema, *schema.get("anyOf", ())]
    return any(
        kind.get("type") in ("integer", "number") and not kind.keys() & {"maximum", "exclusiveMaximum"}
        for kind in kinds
    )


def test_each_number_of_a_model_has_an_upper_bound() -> None:
    """A whole number over 64 bits cannot be written to a journal, and a sum of huge ones is no limit."""
    models = set(_models())
    assert len(models) > 100
    unbounded = {
        (model.__name__, name)
        for model in models
        for name, schema in model.model_json_schema().get("properties", {}).items()
        if _is_unbounded(schema)
    }
    assert unbounded == _FREE


@pytest.mark.parametrize(
    ("text", "seconds"), [("36500d", ids.LONGEST), ("0s", 0), ("876000h", ids.LONGEST), ("3153600000s", ids.LONGEST)]
)
def test_a_duration_has_at_most_a_hundred_years(text: str, seconds: float) -> None:
    assert ids.duration(text) == seconds


@pytest.mark.parametrize("text", ["36501d", "3153600001s", "99999999999999999999s", "9" * 400 + "s"])
def test_a_longer_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the most is 36500d") as refused:
        ids.duration(text)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize("given", ["8388608GiB", "9" * 400, 2**53, 10**400])
def test_a_size_that_no_json_reader_holds_is_refused(given: str | int) -> None:
    with pytest.raises(ValueError, match="the most is 8388607GiB"):
        ids.size(given)
    assert ids.size(f"{ids.MOST}B") == ids.MOST == ids.size(ids.MOST)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1e300, "0001-01-01T00:00:00.000000Z"),
        (ids.EARLIEST, "0001-01-01T00:00:00.000000Z"),
        (-1.5, "1969-12-31T23:59:58.500000Z"),
        (ids.LATEST, "9999-12-31T23:59:59.000000Z"),
        (float("inf"), "9999-12-31T23:59:59.000000Z"),
    ],
)
def test_each_time_can_be_written_and_read_back(seconds: float, text: str) -> None:
    assert ids.stamp(seconds) == text
    assert ids.stamp(ids.seconds_of(text)) == text
