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
from kheish.runtime.tools import files, processes, registry, search
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


@pytest.mark.skipif(not search.find_ripgrep(), reason="needs ripgrep")
@pytest.mark.parametrize(
    ("place", "kind"),
    [(".gitignore", "pipe"), (".git/info/exclude", "pipe"), (".rgignore", "device"), ("sub/.ignore", "sparse")],
)
async def test_a_special_ignore_file_stops_no_search(context: Any, root: Path, place: str, kind: str) -> None:  # noqa: F811
    """ripgrep opens ignore files whatever they are, and is stopped by a pipe; a device would fill the memory."""
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(root / place)
        case "sparse":
            (root / place).touch()
            os.truncate(root / place, 20 * 1024**3)
        case _:
            (root / place).symlink_to("/dev/zero")
    (root / "x").write_text("needle")
    (root / "node_modules").mkdir()
    (root / "node_modules" / "y").write_text("needle")
    began = time.monotonic()
    for tool, arguments, line in (
        ("grep_search", {"pattern": "needle"}, "1:needle"),
        ("glob_search", {"pattern": "x"}, ""),
    ):
        content = await call(tool, context(), **arguments)
        assert content.startswith(f"x\n{line}") and "node_modules" not in content
        assert f"{place} is no plain, small file, so no ignore file was applied" in content
    assert time.monotonic() - began < processes.SECONDS  # each of the two took all of it before


async def test_a_folder_with_very_many_names(context: Any, root: Path, monkeypatch: Any) -> None:  # noqa: F811
    monkeypatch.setattr(files, "_LOOKED_AT", 100)
    for number in range(300):
        (root / f"f{number}").touch()
    listed = await call("list_files", context())
    assert "more than 100 entries" in listed and listed.count("\n") == 101


@pytest.mark.found("S6")
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
