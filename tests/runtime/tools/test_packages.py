"""Tools of installed packages: what is taken, what is left out and why, and what a bad tool cannot do."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from kheish.runtime.tools.base import Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.installed import packages
from tests.support.stateful import Played


def tool(name: str = "own", run: Any = None, **fields: Any) -> Tool:
    async def nothing(arguments: Any, context: Any) -> Result:
        return Result(content="done")

    schema = {"type": "object", "properties": {}}
    given = {"effect": Effect.READ, "replay": Replay.SAFE, **fields}
    return Tool(name=name, description="…", arguments=schema, run=run or nothing, **given)


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = sys.modules["a_package"] = types.ModuleType("a_package")
    yield made
    del sys.modules["a_package"]


def read(module: types.ModuleType, *taken: str, **values: Any) -> tuple[packages.Package, ...]:
    for name, value in values.items():
        setattr(module, name, value)
    return packages.read([EntryPoint(name, f"a_package:{name}", packages.GROUP) for name in values], taken)


def test_an_entry_point_names_a_tool_several_or_their_maker(module: types.ModuleType) -> None:
    found = read(module, one=tool("a"), several=(tool("b"), tool("c")), maker=lambda: [tool("d")])
    assert sorted(packages.tools_of(found)) == ["a", "b", "c", "d"]
    assert not any(one.problem for one in found)


def test_a_name_stays_with_its_owner(module: types.ModuleType) -> None:
    found = read(module, "read_file", first=[tool("read_file"), tool("mine")], second=tool("mine"))
    assert list(packages.tools_of(found)) == ["mine"]
    assert [one.problem for one in found] == [
        "a_package:first: there is a tool 'read_file' already",
        "a_package:second: there is a tool 'mine' already",
    ]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: tool("with space"), "is no name"),
        (lambda: tool("x" * 65), "is no name"),
        (lambda: tool("mcp__own__tool"), "MCP servers"),
        (lambda: tool("own", true_name="read_file"), "another true_name"),
        (lambda: tool("own", effect="harmless"), "no effect"),
        (lambda: "no tool", "is not a kheish"),
        (lambda: sys.exit(3), "SystemExit: 3"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: Tool(name="x", description="", arguments={"type": "?"}, effect=Effect.READ, replay=Replay.SAFE,
                      run=None), "InvalidSchema"),
    ],
)  # fmt: skip
def test_what_cannot_be_offered_is_a_problem(module: types.ModuleType, made: Any, reason: str) -> None:
    [bad, good] = read(module, bad=made, good=tool("fine"))
    assert not bad.tools and reason in str(bad.problem)
    assert [one.name for one in good.tools] == ["fine"]


def test_a_missing_package_is_a_problem() -> None:
    [found] = packages.read([EntryPoint("gone", "no_such_package:tool", packages.GROUP)], ())
    assert "ModuleNotFoundError" in str(found.problem)


async def test_a_package_that_never_loads_does_not_hold_the_daemon(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr(packages, "SECONDS", 0.05)
    monkeypatch.setattr(packages, "_loaded", ())
    over = threading.Event()
    module.slow = lambda: over.wait(10)  # type: ignore[attr-defined]
    monkeypatch.setattr(packages, "find", lambda: [EntryPoint("slow", "a_package:slow", packages.GROUP)])
    [found] = await packages.load({})
    over.set()
    assert not found.tools and "not imported within" in str(found.problem)


async def test_a_defect_is_a_result_for_the_model(module: types.ModuleType, tmp_path: Path) -> None:
    async def breaks(arguments: Any, context: Any) -> Result:
        raise KeyError("lost")

    async def wrong(arguments: Any, context: Any) -> Any:
        return "text"

    async def preview(arguments: Any, context: Any) -> str:
        raise RuntimeError("no")

    given = [tool("breaks", breaks, preview=preview), tool("wrong", wrong), tool("fine")]
    [package] = read(module, all=given)
    broken, mistaken, fine = package.tools
    context: Any = Played  # no hook looks at it
    with pytest.raises(ToolError, match="breaks failed: KeyError: 'lost'"):
        await broken.run({}, context)
    assert broken.preview is not None and await broken.preview({}, context) is None
    with pytest.raises(ToolError, match="returned str, not a Result"):
        await mistaken.run({}, context)
    result = await fine.run({}, context)
    assert isinstance(result, Result) and result.content == "done"
    assert given[0].run is breaks, "the package's own value is unchanged"
    await asyncio.sleep(0)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_would_end_the_daemon_is_a_result_for_the_model(
    module: types.ModuleType, error: BaseException
) -> None:
    async def leaves(arguments: Any, context: Any) -> Result:
        raise error

    [package] = read(module, all=[tool("leaves", leaves, preview=leaves)])
    [made] = package.tools
    context: Any = Played
    with pytest.raises(ToolError, match="leaves failed"):
        await made.run({}, context)
    assert made.preview is not None and await made.preview({}, context) is None


async def test_a_run_that_is_cancelled_ends_in_a_tool_of_a_package(module: types.ModuleType) -> None:
    async def hangs(arguments: Any, context: Any) -> Result:
        await asyncio.sleep(60)
        raise AssertionError

    [package] = read(module, all=[tool("hangs", hangs)])
    context: Any = Played
    running = asyncio.create_task(package.tools[0].run({}, context))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
