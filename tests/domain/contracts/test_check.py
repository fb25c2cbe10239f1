"""Contracts: schemas that can be used, values that fit them, texts that hold a value."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain.contracts import check as contracts, patterns
from kheish.errors import Fault
from kheish.jobs import confined

REPORT = {
    "type": "object",
    "required": ["title", "findings"],
    "properties": {
        "title": {"type": "string"},
        "findings": {"type": "array", "items": {"$ref": "#/$defs/finding"}},
        "a/b~c": {"const": 1},
    },
    "$defs": {"finding": {"type": "object", "properties": {"line": {"type": "integer"}}}},
    "unevaluatedProperties": False,
}


def test_every_fault_is_told_with_its_pointer() -> None:
    found = contracts.faults(REPORT, {"findings": [{"line": 1}, {"line": "x"}], "a/b~c": 2, "more": 1})

    assert contracts.check_schema(REPORT) == []
    assert {fault.path for fault in found} == {"", "/findings/1/line", "/a~1b~0c"}
    assert any("'title' is a required property" in fault.message for fault in found)
    assert any("'more'" in fault.message for fault in found)


@pytest.mark.parametrize(
    ("schema", "path", "word"),
    [
        ({"type": "objekt"}, "/type", "objekt"),
        ({"properties": {"a": {"minimum": "x"}}}, "/properties/a/minimum", "number"),
        ([], "", "object"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "/$schema", "draft-07"),
        ({"$schema": 7}, "/$schema", "2020-12"),
        ({"$ref": "http://127.0.0.1:9/s.json"}, "", "http://127.0.0.1:9/s.json"),
        ({"items": {"$ref": "#/$defs/none"}}, "", "#/$defs/none"),
        ({"pattern": "("}, "", "regular expression"),
        ({"items": {"pattern": "(a+)+$"}}, "", "repetition"),
        ({"patternProperties": {"(a*)*": True}}, "", "repetition"),
        ({"description": "x" * 300_000}, "", "larger"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: Any, path: str, word: str) -> None:
    [found] = contracts.check_schema(schema)

    assert found.path == path
    assert word in found.message


OLD = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("schema", "value", "paths"),
    [
        ({"$schema": OLD, "definitions": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/definitions/a"}},
          "items": [{"type": "integer"}]}, {"x": 1}, ["/x"]),
        ({"$schema": OLD, "items": [{"type": "integer"}], "additionalItems": False}, ["a", 2], ["", "/0"]),
        ({"$schema": OLD.replace("http:", "https:").rstrip("#"), "type": "string"}, 1, [""]),
        ({"$schema": "https://json-schema.org/draft/2019-09/schema", "$defs": {"a": {"type": "null"}},
          "items": {"$ref": "#/$defs/a"}}, [1], ["/0"]),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}, 1, [""]),
    ],
)  # fmt: skip
def test_a_schema_of_an_older_dialect_means_what_that_says(schema: Any, value: Any, paths: list[str]) -> None:
    """As pydantic 1, zod and most tools write them."""
    assert contracts.check_schema(schema) == []
    assert [fault.path for fault in contracts.faults(schema, value)] == paths


def test_a_schema_that_only_an_older_dialect_accepts_is_told_so() -> None:
    found = contracts.check_schema({"type": "array", "items": [{"type": "integer"}]})
    assert {fault.path for fault in found} == {"/items", "/$schema"} and len(found) == 2
    assert "draft-07" in found[-1].message or "draft-07" in found[0].message


@pytest.mark.parametrize("named", ["https://json-schema.org/draft/2020-12/schema", OLD])
@pytest.mark.parametrize("place", ["whole", "part"])
def test_a_named_dialect_lifts_no_limit(named: str, place: str) -> None:
    """Each reference to a part that names its dialect was judged without a limit: 2^60 checks in the daemon itself."""
    twice = {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}
    schema: Any = {"$defs": {"a": {"$schema": named, **twice}}, "$ref": "#/$defs/a"}
    if place == "whole":
        schema = {"$schema": named, "type": "array", "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}
    value: Any = 1
    for _ in range(60):
        value = [value]
    assert "too many steps" in contracts.faults(schema, value)[0].message


def test_a_property_may_be_named_like_a_keyword() -> None:
    schema = {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}, "$defs": {}}

    assert contracts.check_schema(schema) == []
    assert [fault.path for fault in contracts.faults(schema, {"$ref": 1})] == ["/$ref"]


def test_nothing_is_fetched_and_nothing_runs_without_end() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"not": deep}

    assert "http://127.0.0.1:9/x" in contracts.faults({"$ref": "http://127.0.0.1:9/x"}, 1)[0].message
    assert "endlessly" in contracts.faults({"$ref": "#"}, 1)[0].message
    assert "deep" in contracts.check_schema(deep)[0].message
    assert "deep" in contracts.output_faults({}, "[" * 200_000)[0].message


def test_references_by_id_and_anchor_stay_inside() -> None:
    schema = {
        "$id": "https://example.test/root",
        "$defs": {"a": {"$anchor": "here", "type": "integer"}, "b": {"$id": "b", "type": "string"}},
        "properties": {"a": {"$ref": "#here"}, "b": {"$ref": "https://example.test/b"}},
    }

    assert contracts.check_schema(schema) == []
    assert [fault.path for fault in contracts.faults(schema, {"a": "x", "b": 1})] == ["/a", "/b"]


@pytest.mark.parametrize("text", ['{"a": 1}', ' {"a": 1}\n', '```json\n{"a": 1}\n```', '\n```\n{"a": 1}\n```\n'])
def test_an_output_is_json_or_one_fenced_block(text: str) -> None:
    assert contracts.parse_output(text) == {"a": 1}
    assert contracts.output_faults({"required": ["b"]}, text) == [Fault("", "'b' is a required property")]


@pytest.mark.parametrize("text", ["", "Done.", "{'a': 1}", "NaN", "```json\n1\n```\n```json\n2\n```"])
def test_another_text_is_a_fault_that_says_so(text: str) -> None:
    [found] = contracts.output_faults({"type": "object"}, text)

    assert found.path == ""
    assert found.message.startswith("is not JSON")


def test_a_schema_of_type_string_takes_the_text_itself() -> None:
    schema = {"type": "string", "maxLength": 8}

    assert contracts.input_faults(schema, "fix it") == []
    assert contracts.input_faults(schema, "fix it, please")[0].path == ""
    assert contracts.input_faults({"type": "object"}, '{"a": 1}') == []


def test_faults_and_their_messages_are_bounded() -> None:
    found = contracts.faults({"items": {"type": "string"}}, [["x" * 1000]] * 1000)

    assert len(found) == contracts.MAX_FAULTS
    assert all(len(fault.message) < 400 for fault in found)


CHEAP = ("^[A-Za-z0-9][A-Za-z0-9._/-]*$", r"^\d{4}-x$", "a", "^v.", r"[^\s]+?", r"\bx*+\b", "(?:ab)c")
COSTLY = (".*.*x$", "(a{9}){9}", "(a+)+$", "a|bc", r"(.)\1", "(?=a*)b", "(a)", "(", "(" * 900 + ")" * 900)


@pytest.mark.parametrize(("pattern", "is_cheap"), [*((one, True) for one in CHEAP), *((one, False) for one in COSTLY)])
def test_cheap_patterns_are_told_from_others_wherever_they_stand(pattern: str, is_cheap: bool) -> None:
    for schema in (
        {"pattern": pattern},
        {"allOf": [{"items": {"patternProperties": {pattern: True}}}]},
        {"const": {"x": [{"pattern": pattern}]}, "$ref": "#/const/x/0"},
    ):
        assert patterns.are_cheap(schema) is is_cheap


def test_a_short_value_needs_no_child_for_a_cheap_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise confined.Failed("a child")

    monkeypatch.setattr(contracts._POOL, "run", refuse)

    assert contracts.faults({"pattern": CHEAP[0]}, "main") == []
    assert [fault.path for fault in contracts.faults({"items": {"pattern": CHEAP[0]}}, ["a", "-"])] == ["/1"]
    for pattern, value in ((CHEAP[0], "x" * 200), (COSTLY[0], "main")):
        assert "too many steps" in contracts.faults({"pattern": pattern}, value)[0].message
