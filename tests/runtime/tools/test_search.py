"""glob_search and grep_search give the same answers with ripgrep and without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kheish.runtime.tools import processes, search
from kheish.runtime.tools.base import Tool, ToolError
from kheish.runtime.tools.search import GlobSearch, GrepSearch


@pytest.fixture(params=["ripgrep", "python"])
def tools(request: pytest.FixtureRequest) -> tuple[Tool, Tool]:
    if request.param == "python":
        return search.make(lambda: None)
    if search.find_ripgrep() is None:
        pytest.skip("no ripgrep here")
    return search.make()


@pytest.fixture
def tree(root: Path) -> Path:
    for name in (
        "src/app.py",
        "src/deep/util.py",
        "src/deep/util.ts",
        "node_modules/x/index.py",
        ".git/hook.py",
        ".hidden.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\ndef main():\n    return 'needle'\n")
    (root / ".gitignore").write_text("node_modules/\n")
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "far.py").write_text("needle\n")
    (root / "link").symlink_to(root.parent / "outside")
    (root / "far.py").symlink_to(root.parent / "outside" / "far.py")
    (root / "binary.py").write_bytes(b"needle\0needle\n")
    return root


async def test_glob_finds_by_name_at_any_depth_or_by_path(tree: Path, context, tools) -> None:
    glob, _ = tools

    async def found(pattern: str, path: str = ".") -> list[str]:
        return (await glob.run(GlobSearch(pattern=pattern, path=path), context())).content.splitlines()

    assert await found("*.py") == [".hidden.py", "binary.py", "src/app.py", "src/deep/util.py"]
    assert await found("src/*.py") == ["src/app.py"]
    assert await found("src/**/*.{py,ts}") == ["src/app.py", "src/deep/util.py", "src/deep/util.ts"]
    assert await found("deep/util.*", "src") == ["src/deep/util.py", "src/deep/util.ts"]
    assert await found(f"{tree}/src/*.py") == ["src/app.py"]
    assert await found("*.rs") == ["No file matches *.rs in .."]


async def test_grep_shows_lines_under_their_path(tree: Path, context, tools) -> None:
    _, grep = tools

    result = await grep.run(GrepSearch(pattern=r"ne+dle", glob="src/**/*.py", context=1), context())
    one = await grep.run(GrepSearch(pattern="NEEDLE'", path="src/app.py", ignore_case=True, literal=True), context())
    files = await grep.run(GrepSearch(pattern="needle", output="files"), context())
    counts = await grep.run(GrepSearch(pattern="needle|main", output="counts", path="src/deep"), context())

    assert result.content.splitlines() == [
        "src/app.py", "2-def main():", "3:    return 'needle'", "",
        "src/deep/util.py", "2-def main():", "3:    return 'needle'",
    ]  # fmt: skip
    assert one.content.splitlines() == ["src/app.py", "3:    return 'needle'"]
    assert files.content.splitlines() == [".hidden.py", "src/app.py", "src/deep/util.py", "src/deep/util.ts"]
    assert counts.content.splitlines() == ["src/deep/util.py: 2", "src/deep/util.ts: 2"]
    assert result.detail["matches"] == 2


async def test_what_is_too_much_is_cut_and_said_so(tree: Path, context, tools) -> None:
    glob, grep = tools
    (tree / "big.txt").write_text("".join(f"needle {n}\n" for n in range(500)) + "x" * 5000 + "needle\n")

    result = await grep.run(GrepSearch(pattern="needle", path="big.txt", limit=10), context())
    long = await grep.run(GrepSearch(pattern="xneedle", glob="big.txt"), context())
    paths = await glob.run(GlobSearch(pattern="*", limit=2), context())

    assert "10:needle 9\n\n[10 of 501 matches shown;" in result.content
    assert len(long.content) < 700
    assert "omitted end of long line" in long.content
    assert paths.content.splitlines()[-1].startswith("[2 of ")


async def test_bad_patterns_and_paths_are_told(tree: Path, context, tools) -> None:
    glob, grep = tools
    with pytest.raises(ToolError, match="regex parse error"):
        await grep.run(GrepSearch(pattern="(unclosed"), context())
    assert "No match for --version" in (await grep.run(GrepSearch(pattern="--version"), context())).content
    for path in ("link", "../outside", "far.py"):
        with pytest.raises(ToolError, match="workspace"):
            await grep.run(GrepSearch(pattern="needle", path=path), context())
    with pytest.raises(ToolError, match="not a folder"):
        await glob.run(GlobSearch(pattern="*", path="src/app.py"), context())
    with pytest.raises(ToolError, match="relative"):
        await glob.run(GlobSearch(pattern="/etc/*"), context())


async def test_a_search_without_end_is_ended(tree: Path, context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SECONDS", 0.5)
    (tree / "evil.txt").write_text("a" * 40 + "\n")
    _, grep = search.make(lambda: None)

    result = await grep.run(GrepSearch(pattern="(a+)+$b", path="evil.txt"), context())

    assert "[the search is not complete: it took more than" in result.content
    assert result.detail["complete"] is False


async def test_no_descriptor_is_left_open(tree: Path, context, tools) -> None:
    glob, grep = tools
    await grep.run(GrepSearch(pattern="needle"), context())  # the loop's own descriptors are open from here on
    before = sorted(os.listdir("/proc/self/fd"))
    await glob.run(GlobSearch(pattern="*"), context())
    with pytest.raises(ToolError):
        await grep.run(GrepSearch(pattern="(", path="src/app.py"), context())
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.found("B6")
def test_counts_of_a_name_with_a_line_break() -> None:
    assert search._parse_records(b"./a\nb.txt\x003\n./c\x001\n", "counts") == [("./a\nb.txt", "3"), ("./c", "1")]
