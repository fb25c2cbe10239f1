"""Names with any byte: each tool shows them on one line, as text, and opens them by what it showed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kheish.beneath import names
from kheish.domain.permissions import match as permission_match
from kheish.domain.permissions.rules import Rule, ToolCall
from kheish.runtime.tools import edit, files, patch, search
from kheish.runtime.tools.base import Tool

NAMES = (
    b"menu_\xe9t\xe9.txt", b"a\nb", b"\x1b[2Jx", b"back\\slash", b"\\xe9", b"\xff\\\\", "é".encode(), b"[id]", b" ",
    b"#x", b"\\ ",
)  # fmt: skip
TOOLS = {tool.name: tool for tool in (*files.TOOLS, *edit.TOOLS, *patch.TOOLS)}


async def call(tool: Tool, given: Any, **arguments: Any) -> Any:
    note = {}
    parsed = tool.parse(arguments)
    if tool.plan is not None:
        note = await tool.plan(parsed, given())
    return await tool.run(parsed, given(note=note))


@pytest.fixture(params=["ripgrep", "python"])
def searching(request: pytest.FixtureRequest) -> tuple[Tool, Tool]:
    if request.param == "ripgrep" and search.find_ripgrep() is None:
        pytest.skip("no ripgrep here")
    return search.make() if request.param == "ripgrep" else search.make(lambda: None)


@pytest.mark.parametrize("below", ["", "/f"])
async def test_what_is_called_as_the_home_is_opened_as_it_is_shown(
    below: str, root: Path, context: Any, searching: Any
) -> None:
    file = root / f"~{below}"
    file.parent.mkdir(exist_ok=True)
    file.write_text("needle\n")
    glob, grep = searching
    shown = f"./~{below}"
    assert (await call(glob, context, pattern="**")).content == shown
    assert (await call(grep, context, pattern="needle")).content == f"{shown}\n1:needle"
    assert "./~" in (await call(TOOLS["list_files"], context)).content
    assert "needle" in (await call(TOOLS["read_file"], context, path=shown)).content
    await call(TOOLS["edit_file"], context, path=shown, old_string="needle", new_string="thread")
    assert file.read_text() == "thread\n"


@pytest.mark.found("A3")
@pytest.mark.parametrize("raw", NAMES, ids=lambda raw: names.shown(os.fsdecode(raw)))
async def test_every_tool_takes_the_name_as_it_is_shown(raw: bytes, root: Path, context: Any, searching: Any) -> None:
    (root / "dir").mkdir()
    file = root / "dir" / os.fsdecode(raw)
    file.write_text("needle\n")
    shown = "dir/" + names.shown(os.fsdecode(raw))
    glob, grep = searching

    listed = (await call(TOOLS["list_files"], context, path="dir")).content
    assert listed == f"dir:\n{shown.removeprefix('dir/')}  7 bytes"
    assert (await call(glob, context, pattern="dir/*")).content == shown
    assert (await call(grep, context, pattern="needle")).content == f"{shown}\n1:needle"
    assert (await call(grep, context, pattern="needle", output="counts")).content == f"{shown}: 1"
    assert (await call(grep, context, pattern="needle", output="files", path=shown)).content == shown
    assert (await call(TOOLS["read_file"], context, path=shown)).content.startswith("     1\tneedle\n")
    edited = await call(TOOLS["edit_file"], context, path=shown, old_string="needle", new_string="thread")
    assert edited.detail["path"] == shown and file.read_text() == "thread\n"
    await call(TOOLS["apply_patch"], context, patch=f"--- a/{shown}\n+++ b/{shown}\n@@ -1 +1 @@\n-thread\n+3\n")
    assert file.read_text() == "3\n"
    await call(TOOLS["write_file"], context, path=f"{root}/{shown}", content="x")
    assert file.read_text() == "x" and len(list((root / "dir").iterdir())) == 1
    for rule in (shown, "dir/*"):
        denied = Rule(tool="read_file", match=rule, decision="deny")
        path = ToolCall(tool="read_file", effect="read", arguments={"path": shown})
        assert permission_match.restricts(denied, path, root) is permission_match.Fit.YES


async def test_folders_and_links_of_such_names(root: Path, context: Any, searching: Any) -> None:
    folder = root / os.fsdecode(b"d\xe9\n")
    folder.mkdir()
    (folder / "x").write_text("needle")
    (root / "link").symlink_to(os.fsdecode(b"d\xe9\n"))
    glob, grep = searching
    shown = r"d\xe9\x0a"
    assert (
        await call(TOOLS["list_files"], context, depth=2)
    ).content == f".:\n{shown}/\n{shown}/x  6 bytes\nlink -> {shown}"
    assert (await call(glob, context, pattern="x")).content == f"{shown}/x"
    assert (await call(grep, context, pattern="needle", path="link")).content == f"{shown}/x\n1:needle"
    assert (await call(TOOLS["read_file"], context, path="link/x")).detail["path"] == f"{shown}/x"


@pytest.mark.parametrize("quoted", ['"a/caf\\303\\251\\n"', '"a/caf\\303\\251\\n"\t2026-01-01'])
async def test_a_name_as_git_quotes_it(quoted: str, root: Path, context: Any) -> None:
    (root / "café\n").write_text("1\n")
    new = quoted.replace('"a/', '"b/')
    await call(TOOLS["apply_patch"], context, patch=f"--- {quoted}\n+++ {new}\n@@ -1 +1 @@\n-1\n+2\n")
    assert (root / "café\n").read_text() == "2\n"
