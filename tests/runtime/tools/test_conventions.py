"""What a file has stays: the ends of its lines, its byte order mark, a last line without newline, its mode."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as some

from kheish.domain import conventions
from kheish.domain.patches import patch as patches
from kheish.runtime.tools.base import ToolError
from kheish.runtime.tools.edit import EDIT_FILE, EditFile
from kheish.runtime.tools.files import READ_FILE, ReadFile
from tests.runtime.tools.test_odd_names import TOOLS, call

BOM = b"\xef\xbb\xbf"


@pytest.mark.found("B2")
@pytest.mark.parametrize(
    ("content", "old", "new", "result"),
    [
        (b"a\r\nb\r\n", "a\nb", "x\ny\nz", b"x\r\ny\r\nz\r\n"),
        (b"a\r\nb\r\n", "a", "x\ny", b"x\r\ny\r\nb\r\n"),  # one line becomes two
        (b"a\r\nb", "b", "x\ny", b"a\r\nx\r\ny"),
        (b"a\nb\r\nc\n", "b", "x\ny", b"a\nx\r\ny\r\nc\n"),  # mixed: as the line has it
        (b"a\nb\r\nc\n", "a\nb\nc", "x\ny\nz", b"x\ny\r\nz\n"),
        (b"a\nb\r\nc\n", "c", "x\ny", b"a\nb\r\nx\ny\n"),
        (b"a\nb\n", "a\r\nb", "x\r\ny", b"x\ny\n"),  # the model took CRLF for what the file has
        (b"a\nb\n", "a", "x\r\ny", b"x\r\ny\nb\n"),  # it says CRLF
        (b"a\r\nb\r\n", "a\r\nb", "x\ny", b"x\r\ny\r\n"),
        (b"a\nb\na\r\nb\r\n", "a\nb", "x", b"x\na\r\nb\r\n"),  # exactly so once
        (b"one", "one", "1\n2", b"1\n2"),
        (BOM + b"a\r\n", "a", "b\nc", BOM + b"b\r\nc\r\n"),
        (b"\xe9 = a\n", "a", "b", b"\xe9 = b\n"),  # Latin-1, kept byte by byte
        (b"a\r\n\r\nb\r\n", "\n\n", "\n", b"a\r\nb\r\n"),
    ],
)
async def test_an_edit_keeps_the_ends_of_lines(
    content: bytes, old: str, new: str, result: bytes, root: Path, context: Any
) -> None:
    (root / "f").write_bytes(content)
    await EDIT_FILE.run(EditFile(path="f", old_string=old, new_string=new), context())
    assert (root / "f").read_bytes() == result


@pytest.mark.parametrize(
    ("content", "old", "new", "why"),
    [
        (b"\xe9 = a\n", "a", "é", "is not UTF-8"), (b"\xe9 = a\n", "é", "e", "It is not UTF-8"),
        ("a".encode("utf-16"), "a", "b", "UTF-16"), (b"a\r\nb\na\nb\n\r\n", "b\n", "x", "occurs 2 times"),
    ],
)  # fmt: skip
async def test_what_an_edit_cannot_keep_is_refused(
    content: bytes, old: str, new: str, why: str, root: Path, context: Any
) -> None:
    (root / "f").write_bytes(content)
    with pytest.raises(ToolError, match=why):
        await EDIT_FILE.run(EditFile(path="f", old_string=old, new_string=new), context())
    assert (root / "f").read_bytes() == content


_AB = some.text(alphabet="ab\n", min_size=1, max_size=4)


@given(some.text(alphabet="ab\n", max_size=30), _AB, some.text(alphabet="xy\n", max_size=4))
def test_an_edit_of_one_kind_of_ends_leaves_one_kind(text: str, old: str, new: str) -> None:
    for end in ("\n", "\r\n"):
        made = conventions.replaced(text.replace("\n", end).encode(), old.encode(), new.encode())
        wanted = text.replace(old, new)
        assert made.content.decode() == (wanted.replace("\n", end) if "\n" in text else wanted)


def change(*lines: str, head: str = "@@ -1,{0} +1,{1} @@", file: str = "--- a/f\n+++ b/f\n") -> str:
    before = sum(line[:1] in " -" for line in lines)
    after = sum(line[:1] in " +" for line in lines)
    return file + head.format(before, after) + "\n" + "\n".join(lines) + "\n"


MAKE = "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n"
NO = "\\ No newline at end of file"


@pytest.mark.found("B2")
@pytest.mark.parametrize(
    ("content", "patch", "result"),
    [
        (b"a\r\nb\r\n", change(" a", "-b", "+x", "+y"), b"a\r\nx\r\ny\r\n"),
        (b"a\nb\r\nc\n", change(" a", "-b", "+x", " c"), b"a\nx\r\nc\n"),
        (b"a\nb\r\nc\n", change(" a", " b", "+x", " c"), b"a\nb\r\nx\r\nc\n"),
        (BOM + b"a\nb\n", change("-a", "+x", " b"), BOM + b"x\nb\n"),
        (BOM + b"a\nb\n", change("-\ufeffa", "+\ufeffx", " b"), BOM + b"x\nb\n"),
        (BOM + b"a\n", change("+0", " a"), BOM + b"0\na\n"),
        (b"a\nb", change(" a", "-b", "+x"), b"a\nx"),  # neither side says so: as the file has it
        (b"a\nb", change(" a", " b", "+c"), b"a\nb\nc"),
        (b"a\r\nb", change(" a", " b", "+c"), b"a\r\nb\r\nc"),
        (b"a\nb", change(" a", "-b", NO, "+b"), b"a\nb\n"),
        (b"a\nb\n", change(" a", "-b", "+b", NO), b"a\nb"),
        (b"a\nb", change(" a", "-b", NO, "+x", NO), b"a\nx"),
        (b"a\nb", change("-a", "+x", " b", NO), b"x\nb"),
        (b"a\nb", change(" a", "-b", NO), b"a\n"),
        (b"b", change("-b", NO, "+b", "+c", NO), b"b\nc"),
        (b"a\nb\n", change(" a\r", "-b\r", "+x\r"), b"a\nx\n"),  # the patch was only written so
        (b"a\nb\n", change(" a", "-b", "+b\r"), b"a\nb\r\n"),  # it changes the end
        (b"", change("+x", head="@@ -0,0 +1 @@"), b"x\n"),
        (b"", change("+x", NO, head="@@ -0,0 +1 @@"), b"x"),
    ],
)
def test_a_patch_keeps_what_the_file_has(content: bytes, patch: str, result: bytes) -> None:
    [one] = patches.read(patch)
    assert patches.apply(one, content) == result


@pytest.mark.found("B2")
@pytest.mark.parametrize(
    ("patch", "path", "mode", "content"),
    [
        (f"diff --git a/n b/n\nnew file mode 100755\nindex 0..1\n{MAKE}", "n", 0o755, "x\n"),
        (f"diff --git a/n b/n\nnew file mode 100644\n{MAKE}", "n", 0o644, "x\n"),
        ("diff --git a/n b/n\nnew file mode 100755\nindex 0000000..e69de29\n", "n", 0o755, ""),
        ("diff --git a/f b/f\nold mode 100644\nnew mode 100755\n", "f", 0o755, "one\n"),
        ("diff --git a/f b/f\nold mode 100644\nnew mode 100755\n" + change("-one", "+x"), "f", 0o755, "x\n"),
        ("diff --git a/s b/s\nold mode 100755\nnew mode 100644\n", "s", 0o644, "two\n"),
        (change("-two", "+x", file="--- a/s\n+++ b/s\n"), "s", 0o755, "x\n"),
    ],
)
async def test_modes(patch: str, path: str, mode: int, content: str, root: Path, context: Any) -> None:
    for name, text, bits in (("f", "one\n", 0o644), ("s", "two\n", 0o755)):
        (root / name).write_text(text)
        (root / name).chmod(bits)
    old = os.umask(0o022)
    try:
        await call(TOOLS["apply_patch"], context, patch=patch)
    finally:
        os.umask(old)
    assert ((root / path).stat().st_mode & 0o7777, (root / path).read_text()) == (mode, content)


async def test_modes_survive_edits_and_nothing_runs_as_its_owner(root: Path, context: Any) -> None:
    (root / "s").write_text("a\n")
    (root / "s").chmod(0o4755)
    await EDIT_FILE.run(EditFile(path="s", old_string="a", new_string="b"), context())
    assert (root / "s").stat().st_mode & 0o7777 == 0o755
    for mode in ("120000", "160000", "104755"):
        patch = f"diff --git a/l b/l\nnew file mode {mode}\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n{NO}\n"
        with pytest.raises(ToolError, match="not a regular file"):
            await call(TOOLS["apply_patch"], context, patch=patch)


async def test_a_mark_is_not_shown_and_said(root: Path, context: Any) -> None:
    (root / "f").write_bytes(BOM + b"a\n")
    content = (await READ_FILE.run(ReadFile(path="f"), context())).content
    assert content.startswith("     1\ta\n") and "byte order mark" in content
