"""`apply_patch`: all of a patch or nothing, found by its lines, told by its digests after a crash."""

from __future__ import annotations

import hashlib
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kheish.domain.patches import patch as patches
from kheish.domain.patches.patch import BadPatch
from kheish.runtime.tools.base import Result, ToolError
from kheish.runtime.tools.patch import TOOLS, ApplyPatch

[TOOL] = TOOLS

OLD = "one\ntwo\nthree\nfour\n"
CHANGE = "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
MAKE = "--- /dev/null\n+++ b/new/g\n@@ -0,0 +1,2 @@\n+a\n+b\n"
REMOVE = "--- a/h\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"


@dataclass(frozen=True)
class Bench:
    """The tool over a workspace."""

    workspace: Path
    context: Any

    async def call(self, **given: Any) -> Any:
        return await self.run(await self.plan(**given), **given)

    async def plan(self, **given: Any) -> Any:
        assert TOOL.plan is not None
        return await TOOL.plan(ApplyPatch(**given), self.context())

    async def run(self, note: Any, **given: Any) -> Any:
        return await TOOL.run(ApplyPatch(**given), self.context(note=note))

    async def recover(self, note: Any, **given: Any) -> Any:
        assert TOOL.recover is not None
        return await TOOL.recover(ApplyPatch(**given), self.context(note=note))


@pytest.fixture
def bench(root: Path, context: Any) -> Bench:
    return Bench(root, context)


def digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def fill(root: Path) -> None:
    (root / "f").write_text(OLD)
    (root / "h").write_text("gone\n")


async def test_several_files_are_changed_made_and_removed(bench: Bench) -> None:
    fill(bench.workspace)
    found = await bench.call(patch="diff --git a/f b/f\nindex 1..2 100644\n" + CHANGE + MAKE + REMOVE)
    assert (bench.workspace / "f").read_text() == "one\n2\nthree\nfour\n"
    assert (bench.workspace / "new/g").read_text() == "a\nb\n" and not (bench.workspace / "h").exists()
    assert "new/g: made" in found.content and "h: removed" in found.content
    assert [one["path"] for one in found.detail["files"]] == ["f", "new/g", "h"]
    assert "+++ /dev/null" in found.detail["diff"]


async def test_where_one_file_does_not_fit_none_is_changed(bench: Bench) -> None:
    fill(bench.workspace)
    with pytest.raises(ToolError) as refused:
        await bench.call(patch=CHANGE + MAKE + "--- a/no\n+++ b/no\n@@ -1 +1 @@\n-x\n+y\n" + REMOVE)
    assert "no: does not exist" in str(refused.value)
    assert (bench.workspace / "f").read_text() == OLD and not (bench.workspace / "new").exists()


@pytest.mark.parametrize(
    ("content", "patch", "result"),
    [
        ("zero\n" + OLD, CHANGE, "zero\none\n2\nthree\nfour\n"),  # the numbers are off
        (OLD.replace("\n", "\r\n"), CHANGE, "one\r\n2\r\nthree\r\nfour\r\n"),
        ("a\n\nb\n", "--- f\n+++ f\n@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n", "a\n\nc\n"),  # a context line without its blank
        ("a", "--- f\n+++ f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n", "b\n"),
        ("a\n", "--- f\n+++ f\n@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file\n", "b"),
        ("a\nb\n", "--- f\n+++ f\n@@ -1,0 +2 @@\n+x\n", "a\nx\nb\n"),
        ("--- x\na\n", "--- f\n+++ f\n@@ -1,2 +1 @@\n---- x\n a\n", "a\n"),  # a line that looks like a header
        ("a\x0bb\rc\n", "--- f\n+++ f\n@@ -1 +1 @@\n-a\x0bb\rc\n+d\n", "d\n"),
    ],
)
def test_what_a_file_becomes(content: str, patch: str, result: str) -> None:
    [one] = patches.read(patch)
    assert patches.apply(one, content.encode()) == result.encode()


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ("hello", "it names no file"),
        ("--- a/f\n", "must follow"),
        ("--- a/f\n+++ b/f\n", "no hunk"),
        ("--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n", "cannot change its name"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-a\n+b\n", "ends in the middle"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n+c\n", "is not a file header"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n a\n-b\n", "is not a file header"),
        (CHANGE + CHANGE, "twice"),
        ("rename from a\nrename to b\n", "only the text"),
        ("--- /dev/null\n+++ /dev/null\n", "neither"),
        ('--- "a/x\n+++ "b/x\n', "quotes"),
        ("diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+y\n", "not a regular file"),
    ],
)
def test_what_is_no_patch(patch: str, why: str) -> None:
    with pytest.raises(BadPatch, match=why):
        patches.read(patch)


@pytest.mark.parametrize(
    ("content", "patch", "why"),
    [
        ("x\n", CHANGE, "does not fit"),
        ("one\ntwo\nthree\n" + "0\n" + "one\ntwo\nthree\n", CHANGE.replace("-1,3 +1,3", "-3,3 +3,3"), "several places"),
        ("gone\nmore\n", REMOVE, "has more content"),
        (None, CHANGE, "does not exist"),
        ("a\n", MAKE, "exists already"),
        ("a\n", "--- f\n+++ f\n@@ -9,0 +10 @@\n+x\n", "the file has only 1 lines"),
    ],
)
def test_what_does_not_fit(content: str | None, patch: str, why: str) -> None:
    [one] = patches.read(patch)
    with pytest.raises(BadPatch, match=why):
        patches.apply(one, None if content is None else content.encode())


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", ".git/hooks/pre-commit", "new/.git/config", "link/x", "~/x"])
async def test_nothing_outside_and_nothing_of_git(bench: Bench, path: str) -> None:
    (bench.workspace / "link").symlink_to("..")
    patch = f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    with pytest.raises(ToolError):
        await bench.call(patch=patch)
    assert sorted(one.name for one in bench.workspace.iterdir()) == ["link"]


async def test_expected_digests_are_held(bench: Bench) -> None:
    fill(bench.workspace)
    right, wrong = {"f": str(digest(OLD))[:12]}, {"f": "0" * 12}
    for expected in (wrong, {**right, "q": "0" * 12}):
        with pytest.raises(ToolError):
            await bench.call(patch=CHANGE, expected_sha256=expected)
    assert (bench.workspace / "f").read_text() == OLD
    await bench.call(patch=CHANGE, expected_sha256=right)


@pytest.mark.parametrize("done", [(), ("f",), ("f", "new/g"), ("f", "new/g", "h")])
async def test_after_a_crash_what_is_left_is_done(bench: Bench, done: tuple[str, ...]) -> None:
    fill(bench.workspace)
    given: dict[str, Any] = {"patch": CHANGE + MAKE + REMOVE}
    note = await bench.plan(**given)
    assert not (bench.workspace / "new").exists(), "planning makes nothing"
    if "f" in done:
        (bench.workspace / "f").write_text("one\n2\nthree\nfour\n")
    if "new/g" in done:
        (bench.workspace / "new").mkdir()
        (bench.workspace / "new/g").write_text("a\nb\n")
    if "h" in done:
        (bench.workspace / "h").unlink()
    found = await bench.recover(note, **given)
    assert isinstance(found, Result) and found.detail["found_done"] == len(done)
    assert (bench.workspace / "f").read_text() == "one\n2\nthree\nfour\n"
    assert (bench.workspace / "new/g").read_text() == "a\nb\n" and not (bench.workspace / "h").exists()


async def test_what_somebody_else_changed_meanwhile_cannot_be_told(bench: Bench) -> None:
    fill(bench.workspace)
    note = await bench.plan(patch=CHANGE + REMOVE)
    (bench.workspace / "f").write_text("another\n")
    assert await bench.recover(note, patch=CHANGE + REMOVE) is None
    with pytest.raises(ToolError, match="does not fit"):
        await bench.run(note, patch=CHANGE + REMOVE)
    assert (bench.workspace / "h").exists()


async def test_where_a_file_cannot_be_written_the_others_get_back_what_they_held(bench: Bench) -> None:
    fill(bench.workspace)
    large = "--- /dev/null\n+++ b/large\n@@ -0,0 +1 @@\n+" + "x" * 100_000 + "\n"
    note = await bench.plan(patch=CHANGE + REMOVE + large)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(ToolError, match=r"file too large.*nothing stays changed"):
            await bench.run(note, patch=CHANGE + REMOVE + large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (bench.workspace / "f").read_text() == OLD and (bench.workspace / "h").read_text() == "gone\n"
    assert sorted(one.name for one in bench.workspace.iterdir()) == ["f", "h"]
