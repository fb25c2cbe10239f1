"""Ways out of the workspace by the file tools: paths that climb, links, links that are swapped while a tool works."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from kheish.runtime.tools import registry
from kheish.runtime.tools.base import Context, ToolError
from kheish.runtime.tools.shell import SandboxSettings
from tests.runtime.tools.conftest import context, jobs, root  # noqa: F401 - fixtures

TOOLS = registry.builtin(lambda: SandboxSettings(mode="off", available=False))
SECRET = "the-secret-of-the-neighbour"
PATCH = "--- /dev/null\n+++ b/{}\n@@ -0,0 +1 @@\n+pwned\n"
CALLS: dict[str, Callable[[str], dict[str, Any]]] = {
    "read_file": lambda path: {"path": path},
    "list_files": lambda path: {"path": path, "depth": 3},
    "grep_search": lambda path: {"path": path, "pattern": "secret"},
    "glob_search": lambda path: {"path": path, "pattern": "*"},
    "write_file": lambda path: {"path": path, "content": "pwned"},
    "edit_file": lambda path: {"path": path, "old_string": SECRET, "new_string": "pwned"},
    "apply_patch": lambda path: {"patch": PATCH.format(path)},
}


async def call(tool: str, path: str, given: Context) -> str:
    """What the model is told."""
    found = TOOLS[tool]
    try:
        arguments = found.parse(CALLS[tool](path))
        note = await found.plan(arguments, given) if found.plan else {}
        del note
        result = await found.run(arguments, given)
    except ToolError as error:
        return str(error)
    return str(result.content)  # type: ignore[union-attr]  # none of them waits


@pytest.fixture
def outside(root: Path) -> Path:  # noqa: F811
    """A folder beside the workspace, with links to it in the workspace."""
    there = root.parent / "outside"
    there.mkdir()
    (there / "key").write_text(SECRET)
    (root / "direct").symlink_to(there)
    (root / "file").symlink_to(there / "key")
    (root / "climbing").symlink_to("../outside")
    (root / "first").symlink_to("second")
    (root / "second").symlink_to("climbing")
    (root / "proc").symlink_to("/proc/self/root")
    (root / "fd").symlink_to("/dev/fd")
    (root / "sub").mkdir()
    return there


@pytest.mark.parametrize("tool", CALLS)
@pytest.mark.parametrize(
    "path",
    [
        "../outside/key", "sub/../../outside/key", "{outside}/key", "//{outside}/key", "direct/key", "file",
        "climbing/key", "first/key", "proc{outside}/key", "sub/./.././../outside/key", "{root}/../outside/key", "~/key",
        "direct/../outside/key", "{root}/direct/key", "direct", "..", "/", "first",
    ],
)  # fmt: skip
async def test_path_traversal(tool: str, path: str, context: Any, outside: Path, root: Path) -> None:  # noqa: F811
    told = await call(tool, path.format(outside=outside, root=root), context())
    assert SECRET not in told
    assert [one.name for one in outside.iterdir()] == ["key"] and (outside / "key").read_text() == SECRET


@contextmanager
def swapping(place: Path, outside: Path) -> Iterator[None]:
    """The name is now a folder with a file `key`, now a link that leads out, as fast as can be."""
    inside = place.with_name("inside")
    inside.mkdir()
    (inside / "key").write_text("harmless")
    link = place.with_name("link-out")
    link.symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for one in (inside, link):
                with suppress(OSError):  # a tool has made a folder of this name meanwhile
                    os.rename(one, place)
                    os.rename(place, one)
                    continue
                with suppress(OSError):
                    os.rename(place, place.with_name(f"made-{time.monotonic_ns()}"))

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("tool", CALLS)
async def test_symlink_race(tool: str, context: Any, outside: Path, root: Path) -> None:  # noqa: F811
    (outside / "key").write_text("harmless" if tool == "edit_file" else SECRET)
    (outside / "only-outside").write_text("a name that nobody must see")
    kept = (outside / "key").read_bytes()
    with swapping(root / "sub" / "swapped", outside):
        for number in range(150):
            path = f"sub/swapped/new-{number}" if tool in ("write_file", "apply_patch") else "sub/swapped/key"
            path = "sub" if tool in ("grep_search", "glob_search", "list_files") else path
            told = await call(tool, path, context(key=f"k{number}"))
            assert SECRET not in told and "only-outside" not in told
            await asyncio.sleep(0)
    assert (outside / "key").read_bytes() == kept
    assert sorted(one.name for one in outside.iterdir()) == ["key", "only-outside"], "nothing was written there"


@pytest.mark.parametrize("path", [".git/hooks/post-commit", ".GIT/config", "sub/../.git/x", "deep/.git/config"])
@pytest.mark.parametrize("tool", ["write_file", "edit_file", "apply_patch"])
async def test_a_hook_of_git_is_not_written(tool: str, path: str, context: Any, root: Path) -> None:  # noqa: F811
    (root / ".git" / "hooks").mkdir(parents=True)
    (root / "deep" / ".git").mkdir(parents=True)
    (root / "sub").mkdir()
    told = await call(tool, path, context())
    assert ".git" in told
    assert not [one for one in root.rglob("*") if one.is_file()]
