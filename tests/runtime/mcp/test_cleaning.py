"""Cleaned lists and results, the budget of tools, and results as text."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from kheish.runtime.mcp import budget, cleaning, results
from kheish.runtime.mcp.cleaning import Notes
from kheish.runtime.tools.base import Context, Effect, Replay, Result, Tool

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
SCHEMA = {"type": "object"}


def clean(method: str, result: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    notes = Notes()
    return cleaning.clean(method, result, notes), [one.why for one in notes.left_out]


def test_a_bad_tool_is_left_out_and_the_others_stay() -> None:
    good = {"name": "a", "inputSchema": {"properties": {}}, "outputSchema": {"pattern": "(a+)+$"}, "x": 1}
    found, whys = clean("tools/list", {"tools": [good, {"name": "b"}, 7, {"name": "\x1b"}], "nextCursor": "2"})
    assert found == {"nextCursor": "2", "tools": [{"name": "a", "inputSchema": {"type": "object", "properties": {}}}]}
    assert len(whys) == 3
    assert clean("tools/list", {"tools": None})[1] == ["the server sent no list"]
    tasks = [
        {"name": one, "inputSchema": SCHEMA, "execution": {"taskSupport": one}} for one in ("required", "optional")
    ]
    found, whys = clean("tools/list", {"tools": tasks})
    assert [one["name"] for one in found["tools"]] == ["optional"] and "as a task" in whys[0]
    deep: Any = {}
    for _ in range(3000):
        deep = {"properties": {"x": deep}}
    assert "nested too deep" in clean("tools/list", {"tools": [{"name": "d", "inputSchema": deep}]})[1][0]


@given(st.sampled_from(sorted(cleaning.LISTS | {"tools/call", "initialize"})), st.dictionaries(
    st.sampled_from(["tools", "content", "resources", "prompts", "serverInfo", "instructions", "isError"]), JSON
))  # fmt: skip
def test_nothing_that_a_server_sends_is_an_error(method: str, result: dict[str, Any]) -> None:
    found, _ = clean(method, result)
    if method == "tools/call":
        assert results.of(found, {}).content


def test_content_of_unknown_types_is_kept_as_text() -> None:
    content = [
        {"type": "text", "text": "a"},
        {"type": "new", "x": [1]},
        {"type": "image", "data": "AAAA", "mimeType": "image/png"},
    ]
    found, _ = clean("tools/call", {"content": content, "structuredContent": [1]})
    result = results.of(found, {"server": "s"})
    assert result.content.split("\n\n")[:2] == ["a", '{"type":"new","x":[1]}']
    assert "[image: image/png, 3 bytes" in result.content and result.content.endswith("[1]")
    assert results.of({"structuredContent": {"a": 1}}, {}).content == '{"a":1}'
    assert len(results.of({"content": [{"type": "text", "text": "x" * 10**6}]}, {}).content) < 70_000


async def _nothing(_: Any, __: Context) -> Result:
    return Result(content="")


def tool(name: str, true_name: str = "", description: str = "Do it.") -> Tool:
    return Tool(name=name, true_name=true_name, description=description, arguments=SCHEMA, effect=Effect.EFFECT,
                replay=Replay.UNSAFE, run=_nothing)  # fmt: skip


def tools(count: int, description: str = "Do it.") -> dict[str, Tool]:
    served = [tool(f"mcp__s__t{number}", f"mcp__s__t{number}", description) for number in range(count)]
    return {one.name: one for one in (tool("bash"), tool(budget.SEARCH), *served)}


def test_tools_within_the_budget_are_all_offered() -> None:
    few = budget.within(tools(64), None, ())
    assert len(few.tools) == 65 and budget.SEARCH not in few.tools and not few.deferred
    many = budget.within(tools(65), None, ["mcp__s__t3"])
    assert set(many.tools) == {"bash", budget.SEARCH, "mcp__s__t3"} and len(many.deferred) == 64
    large = budget.within(tools(10, "word " * 500), 20_000, ())
    assert set(large.tools) == {"bash", budget.SEARCH} and len(large.deferred) == 10
    listed = budget.listing([f"mcp__server__{'x' * 40}{number}" for number in range(1000)])
    assert len(listed) < 9000 and "more" in listed


def test_the_search_finds_names_first() -> None:
    issue = tool("mcp__gh__create_issue", "t", "Open an issue in a repository.")
    known = {**tools(5), issue.name: issue}
    assert budget.search(known, "issue repository", 2) == [issue]
    assert [one.name for one in budget.search(known, "mcp__s__t1, mcp__s__t2", 5)][:2] == ["mcp__s__t1", "mcp__s__t2"]
    assert budget.search(known, "zebra", 5) == []
