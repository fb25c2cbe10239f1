"""Null for an optional argument is no argument: models send it for whatever they leave out."""

from __future__ import annotations

import re

import pytest
from pydantic import Field

from kheish.runtime.tools import registry
from kheish.runtime.tools.arguments import parse_arguments
from kheish.runtime.tools.base import Arguments, Tool, ToolError
from kheish.runtime.tools.shell import SandboxSettings

TOOLS = registry.builtin(lambda: SandboxSettings(mode="off", available=False))


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_null_is_taken_for_every_optional_argument_of_every_tool(name: str) -> None:
    tool: Tool = TOOLS[name]
    fields = tool.arguments.model_fields
    nulls = {key: None for key, field in fields.items() if not field.is_required()}
    needed = {key for key, field in fields.items() if field.is_required()}

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

    tool = type("Fake", (), {"name": "fake", "arguments": Outer})()

    found = parse_arguments(tool, {"items": [{"text": "a", "limit": None}], "name": None})
    assert found == Outer(items=[Inner(text="a")])
    with pytest.raises(ToolError, match=r"items\.0\.text: "):
        parse_arguments(tool, {"items": [{"text": None, "limit": None}]})
    with pytest.raises(ToolError, match="there is no such argument"):
        parse_arguments(tool, {"items": [], "nome": None})
