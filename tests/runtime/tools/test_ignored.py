"""Which ignore files count for a search: those of the workspace, wherever the search begins; none above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kheish.beneath import Door, ignores
from kheish.beneath.door import opened
from kheish.jobs import probing
from kheish.runtime.tools import search
from kheish.runtime.tools.search import GlobSearch, GrepSearch
from kheish.runtime.tools.shell import SandboxSettings

pytestmark = pytest.mark.skipif(search.find_ripgrep() is None, reason="no ripgrep here")


@pytest.fixture(params=["plain", "confined"])
def tools(request: pytest.FixtureRequest) -> Any:
    if request.param == "plain":
        return search.make()
    if not probing.probe().available:
        pytest.skip("no bubblewrap here")
    return search.make(settings=lambda: SandboxSettings(mode="required", available=True))


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("needle\n")


async def found(tools: Any, context: Any, path: str = ".") -> list[str]:
    glob, grep = tools
    listed = (await glob.run(GlobSearch(pattern="*.txt", path=path), context())).content.splitlines()
    matched = (await grep.run(GrepSearch(pattern="needle", glob="*.txt", path=path, output="files"), context())).content
    assert listed == matched.splitlines() or "No " in listed[0] + matched
    return [] if "No file" in listed[0] else listed


@pytest.mark.found("B1")
async def test_ignore_files_above_the_workspace_do_not_count(
    root: Path, context: Any, tools: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(root, "a.txt", "sub/b.txt")
    for name in (".gitignore", ".ignore", ".rgignore", ".git/info/exclude", ".config/git/ignore"):
        (root.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (root.parent / name).write_text("*\n")
    (root.parent / ".gitconfig").write_text(f"[core]\nexcludesFile = {root.parent}/.gitignore\n")
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root.parent / ".config"))
    assert await found(tools, context) == ["a.txt", "sub/b.txt"]
    assert await found(tools, context, "sub") == ["sub/b.txt"]


async def test_those_of_the_workspace_count_wherever_the_search_begins(root: Path, context: Any, tools: Any) -> None:
    fill(root, "x.txt", "a/x.txt", "a/b/x.txt", "a/b/c/x.txt", "a/b/log.txt", "a/b/d/x.txt", "a/b/e/y.txt", "z/log.txt")
    (root / ".gitignore").write_text("log.txt\n/a/b/c/\n# no\n\n/x.txt\n")
    (root / "a" / ".gitignore").write_text("b/d/*.txt\n")
    (root / "a" / "b" / ".ignore").write_text("y.txt\n")
    (root / ".rgignore").write_text("/a/b/e\n")
    assert await found(tools, context) == ["a/b/x.txt", "a/x.txt"]
    assert await found(tools, context, "a") == ["a/b/x.txt", "a/x.txt"]
    assert await found(tools, context, "a/b") == ["a/b/x.txt"]
    assert await found(tools, context, "a/b/c") == ["a/b/c/x.txt"], "a folder that is named is searched"
    assert await found(tools, context, "z") == []


def test_lines_as_they_read_from_further_down(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    lines = {
        "*.log": ["*.log"], "/a/b/x": ["/x"], "a/*/x/": ["/x/"], "/x": [], "a/": ["a/"], "/a/b": [],
        "**/x": ["/**/x"], "!/a/b/x": ["!/x"], "a/**/x": ["/**/x"], "!x": ["!x"], "\\#x": ["\\#x"],
        "a/c/x": [], "x  ": ["x"],
    }  # fmt: skip
    for line, wanted in lines.items():
        (root / ".gitignore").write_text(line + "\r\n")
        with opened(Door(root)) as top:
            assert sorted(set(ignores.above(top, "a/b").decode().split())) == sorted(wanted), line
    (root / "a" / "b" / ".git").mkdir()
    with opened(Door(root)) as top:
        assert ignores.above(top, "a/b") == b"", "a repository of its own"
