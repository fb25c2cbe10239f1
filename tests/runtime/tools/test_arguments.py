"""Arguments by models and by JSON Schemas. A null for an optional argument counts as left out: models send it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import Field

from kheish.domain.contracts import check as contracts
from kheish.runtime.tools import registry
from kheish.runtime.tools.arguments import parse_arguments, parsed
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.parsing import InvalidArguments, InvalidSchema
from kheish.runtime.tools.shell import SandboxSettings

TOOLS = registry.builtin(lambda: SandboxSettings(mode="off", available=False))


async def done(arguments: Any, context: Context) -> Result:
    """Run a tool that gives back its arguments."""
    return Result(content=repr(arguments))


def fake(arguments: type[Arguments] | Mapping[str, Any]) -> Tool:
    """A tool that takes these arguments."""
    return Tool(name="fake", description="", arguments=arguments, effect=Effect.READ, replay=Replay.SAFE, run=done)


@pytest.mark.found("B6")
@pytest.mark.parametrize("name", sorted(TOOLS))
def test_null_is_taken_for_every_optional_argument_of_every_tool(name: str) -> None:
    tool: Tool = TOOLS[name]
    needed = set(tool.schema.get("required", ()))
    nulls = dict.fromkeys(tool.schema["properties"].keys() - needed)

    try:
        parse_arguments(tool, dict(nulls))
    except ToolError as error:
        told = set(re.findall(r"^- (\w+): ", str(error), re.MULTILINE))
        assert told <= needed | {"arguments"}, error


def test_null_is_absent_in_lists_too_and_never_where_a_value_is_needed() -> None:
    class Inner(Arguments):
        text: str
        limit: int = 3

    class Outer(Arguments):
        items: list[Inner]
        name: str = Field(default="x")

    tool = fake(Outer)

    found = parse_arguments(tool, {"items": [{"text": "a", "limit": None}], "name": None})
    assert found == Outer(items=[Inner(text="a")])
    with pytest.raises(ToolError, match=r"items\.0\.text: "):
        parse_arguments(tool, {"items": [{"text": None, "limit": None}]})
    with pytest.raises(ToolError, match="there is no such argument"):
        parse_arguments(tool, {"items": [], "nome": None})


SCHEMA = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": {"type": "object", "properties": {"text": {"type": "string"}, "limit": {"type": "integer"}}},
        },
        "name": {"type": "string", "pattern": "^[a-z]+$"},
    },
    "required": ["items"],
    "additionalProperties": False,
}


async def test_a_json_schema_makes_a_tool_that_takes_a_mapping() -> None:
    tool = fake(SCHEMA)
    assert tool.schema == SCHEMA
    given = {"items": [{"text": "a", "limit": None}], "name": None}
    assert await parsed(tool, given) == {"items": [{"text": "a"}]}
    with pytest.raises(ToolError) as told:
        await parsed(tool, {"items": [{"text": 1}], "name": "A"})
    assert re.findall(r"^- (\S+): ", str(told.value), re.MULTILINE) == ["items.0.text", "name"]
    with pytest.raises(ToolError, match="'items' is a required property"):
        await parsed(tool, {})


class Items(Arguments):
    items: list[dict[str, str]]


@pytest.mark.parametrize("arguments", [SCHEMA, TOOLS["todo_write"].schema, Items])
def test_faults_have_their_places(arguments: Any) -> None:
    with pytest.raises(InvalidArguments) as raised:
        fake(arguments).parse({"items": 1})
    assert [fault.path for fault in raised.value.faults] == ["/items"]


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "string"}, "/type"),
        ({}, "/type"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "/properties/a/type"),
        ({"type": "object", "properties": {"a": {"pattern": "(a+)+$"}}}, ""),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.org/x"}}}, ""),
    ],
)
def test_a_schema_that_cannot_be_used_makes_no_tool(schema: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidSchema) as raised:
        fake(schema)
    assert raised.value.faults[0].path == place


async def test_a_slow_pattern_of_others_is_stopped_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "_SECONDS", 0.3)
    tool = fake({"type": "object", "properties": {"a": {"pattern": "^" + ".*" * 12 + "x$"}}})
    judging = asyncio.create_task(parsed(tool, {"a": "y" * 5000}))
    turns = 0
    while not judging.done():
        turns += 1
        await asyncio.sleep(0.001)
    with pytest.raises(ToolError, match="too many steps"):
        judging.result()
    assert turns > 10, "the event loop was held up"
