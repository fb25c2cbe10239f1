"""Contracts of a caller, and answers of a model, that would take a validator for ever: the daemon has one loop."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from kheish.domain.contracts import check as contracts, steps as schema_steps

EXPLODING = (
    "((a+))+$", "(a|a)+$", "(a|aa)+$", "(?:(?:a+)b?)+$", "([a-z]|a|aa)+$", "(a?){20}a{20}$", r"(\w|aa)*$",
    "(a{1,20}){1,20}$", "(?=(a+))+$", "(a*?)*$", "(?i:(a+)+)$", "(?:a?a)+$", "(?:(?P<x>a+))*$", "(?x) ( a + ) + $",
)  # fmt: skip
PLAIN = (
    r"^\d{4}-\d{2}-\d{2}$", r"^(\d+\.){3}\d+$", "^[a-z][a-z0-9-]*$", "^(foo|bar)(,(foo|bar))*$", "^(a|b|c)+$", "(ab)+",
    r"^[\w.+-]+@[\w-]+\.[\w.]+$", r"^(https?|ftp)://\S+$", r"^v?\d+\.\d+(-[a-z0-9]{8})?$", "^(?:[A-Z]{2}){1,40}$",
)  # fmt: skip


@pytest.mark.found("S6")
@pytest.mark.parametrize("pattern", EXPLODING)
def test_a_pattern_that_may_take_for_ever_is_refused(pattern: str) -> None:
    [found] = contracts.check_schema({"items": {"pattern": pattern}})
    assert "repeats a repetition" in found.message


@pytest.mark.parametrize("pattern", PLAIN)
def test_a_pattern_as_people_write_them_is_fine(pattern: str) -> None:
    assert contracts.check_schema({"pattern": pattern}) == []


def references(levels: int, keyword: str) -> dict[str, Any]:
    """A schema that looks 2 ** levels times at a value."""
    names = [f"a{level}" for level in range(levels)]
    twice = {name: {keyword: [{"$ref": f"#/$defs/a{level}"}] * 2} for level, name in enumerate(names, start=1)}
    return {"$defs": {**twice, f"a{levels}": keyword == "allOf"}, "$ref": "#/$defs/a0"}


@pytest.mark.parametrize("keyword", ["anyOf", "allOf", "oneOf"])
def test_references_that_double_thirty_times(keyword: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_steps, "MOST", 20_000)
    schema = references(30, keyword)
    assert contracts.check_schema(schema) == []
    [found] = contracts.faults(schema, 1)
    assert "too many steps" in found.message
    assert "too many steps" in contracts.output_faults(schema, "1")[0].message
    assert contracts.faults(references(3, "allOf"), 1) == []  # each value counts anew


def test_many_items_that_must_be_unique() -> None:
    schema, many = {"uniqueItems": True}, [{"a": number} for number in range(50_000)]
    began = time.process_time()
    assert contracts.faults(schema, many) == []
    assert len(contracts.output_faults(schema, json.dumps([*many, {"a": 0}]))) == 1
    assert time.process_time() - began < 5  # comparing each with each took minutes


@pytest.mark.parametrize(
    ("items", "unique"),
    [([1, 1.0], False), ([1, True], True), ([0, False], True), ([[1], [True]], True), ([{"a": 1}, {"a": 1.0}], False),
     ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False), (["1", 1], True), ([None, False, 0, "", [], {}], True),
     ([[], {}], True), ([[1, 2], [2, 1]], True)],
)  # fmt: skip
def test_unique_is_as_json_schema_has_it(items: list[Any], unique: bool) -> None:
    assert (contracts.faults({"uniqueItems": True}, items) == []) is unique
    assert contracts.faults({"uniqueItems": False}, items) == contracts.faults({"uniqueItems": True}, "no list") == []
