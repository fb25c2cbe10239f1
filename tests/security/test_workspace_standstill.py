"""What lies in a workspace stops nothing but the call that looks at it: FIFOs where a file is expected, folders with
more names than anybody reads, links in a circle."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from kheish.beneath import Door
from kheish.domain import references
from kheish.errors import EvidenceUnresolved
from kheish.runtime.tools import files, processes, registry
from kheish.runtime.tools.base import ToolError
from kheish.runtime.tools.shell import SandboxSettings
from tests.runtime.tools.conftest import context, jobs, root  # noqa: F401 - fixtures
from tests.support.daemon import Daemon

TOOLS = registry.builtin(lambda: SandboxSettings(mode="off", available=False))
FIFOS = ("AGENTS.md", ".gitignore", ".ignore", "file", "sub/.gitignore", ".git")


async def call(tool: str, given: Any, **arguments: Any) -> str:
    try:
        return str((await TOOLS[tool].run(TOOLS[tool].parse(arguments), given)).content)  # type: ignore[union-attr]
    except ToolError as error:
        return str(error)


async def test_fifos_where_files_are_expected(context: Any, root: Path) -> None:  # noqa: F811
    (root / "sub" / "deep").mkdir(parents=True)
    for name in FIFOS:
        os.mkfifo(root / name)
    (root / "sub" / "deep" / "x").write_text("needle")
    began = time.monotonic()
    for path in ("file", "AGENTS.md"):
        for tool, more in (
            ("read_file", {}), ("edit_file", {"old_string": "a", "new_string": "b"}), ("grep_search", {"pattern": "x"}),
            ("write_file", {"content": "x"}),
        ):  # fmt: skip
            assert "is a FIFO" in await call(tool, context(), path=path, **more)
    assert "AGENTS.md  (no regular file)" in await call("list_files", context(), depth=3)
    assert time.monotonic() - began < 20
    place = references.Place(index=None, root=root, workspace=Door(root))  # type: ignore[arg-type]  # a file needs none
    with pytest.raises(EvidenceUnresolved, match="FIFO"):
        references.resolve(place, "file", "file")


async def test_a_search_among_fifos_ends(context: Any, root: Path, monkeypatch: Any) -> None:  # noqa: F811
    """ripgrep opens ignore files without asking what they are: then it is ended, and that is said."""
    monkeypatch.setattr(processes, "SECONDS", 1.0)
    os.mkfifo(root / ".gitignore")
    (root / "x").write_text("needle")
    said = await call("grep_search", context(), pattern="needle")
    assert said == "x\n1:needle" or "not complete: it took more than 1 s" in said


async def test_a_folder_with_very_many_names(context: Any, root: Path, monkeypatch: Any) -> None:  # noqa: F811
    monkeypatch.setattr(files, "_LOOKED_AT", 100)
    for number in range(300):
        (root / f"f{number}").touch()
    listed = await call("list_files", context())
    assert "more than 100 entries" in listed and listed.count("\n") == 101


def test_a_daemon_whose_workspace_has_a_fifo_for_instructions(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}) as daemon:
        os.mkfifo(daemon.workspace / "AGENTS.md")
        began = time.monotonic()
        for number in range(3):
            daemon.client.sessions.create(f"s{number}")
            run = daemon.client.runs.start(f"s{number}", "go", wait="20s")
            assert run.data["status"] == "completed"
        daemon.stop()
        assert time.monotonic() - began < 20
