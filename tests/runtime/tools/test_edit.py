"""write_file and edit_file, also after a crash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kheish.runtime.tools.base import ToolError
from kheish.runtime.tools.edit import EDIT_FILE, WRITE_FILE, EditFile, WriteFile


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_write_makes_folders_and_shows_a_diff(root: Path, context) -> None:
    made = await WRITE_FILE.run(WriteFile(path="a/b.txt", content="one\n"), context())
    changed = await WRITE_FILE.run(WriteFile(path="a/b.txt", content="one\ntwo"), context())

    assert (root / "a" / "b.txt").read_text() == "one\ntwo"
    assert made.content == f"Wrote a/b.txt (new file; 1 lines, 4 bytes; sha256 {sha('one' + chr(10))[:12]})."
    assert made.detail["before"] is None
    assert made.detail["diff"].startswith("--- /dev/null\n+++ b/a/b.txt\n")
    assert changed.detail["diff"].endswith(" one\n+two\n\\ No newline at end of file\n")


async def test_write_refuses_another_content_than_expected_but_not_its_own(root: Path, context) -> None:
    (root / "x").write_text("old")
    call = WriteFile(path="x", content="new", expected_sha256=sha("old")[:12])
    with pytest.raises(ToolError, match="it changed since you read it"):
        await WRITE_FILE.run(WriteFile(path="x", content="new", expected_sha256="0" * 12), context())

    await WRITE_FILE.run(call, context())
    again = await WRITE_FILE.run(call, context())  # as recovery does: class safe

    assert (root / "x").read_text() == "new"
    assert again.content == "x already holds exactly this content."
    with pytest.raises(ToolError, match="does not exist, but"):
        await WRITE_FILE.run(WriteFile(path="y", content="", expected_sha256="0" * 64), context())


async def test_an_edit_replaces_one_place_or_all(root: Path, context) -> None:
    (root / "x.py").write_text("a = 1\nb = 1\n")

    one = await EDIT_FILE.run(EditFile(path="x.py", old_string="a = 1", new_string="a = 2"), context())
    with pytest.raises(ToolError, match=r"occurs 2 times \(lines 1, 2\)"):
        await EDIT_FILE.run(EditFile(path="x.py", old_string=" = ", new_string="="), context())
    every = await EDIT_FILE.run(EditFile(path="x.py", old_string=" = ", new_string="=", replace_all=True), context())

    assert (root / "x.py").read_text() == "a=2\nb=1\n"
    assert "-a = 1\n+a = 2\n" in one.detail["diff"]
    assert every.detail["replacements"] == 2


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ("     1\tdef f():", "Leave|leave them and the tab out"),
        ("def f():\n  return 1", "first line occurs at line 1, so the white space"),
        ("nothing like it", "Read the file again"),
        ("def g():", "Read the file again"),
    ],
)
async def test_an_edit_that_does_not_match_says_why(root: Path, context, old: str, words: str) -> None:
    (root / "x.py").write_text("def f():\n\treturn 1\n")
    with pytest.raises(ToolError, match=words):
        await EDIT_FILE.run(EditFile(path="x.py", old_string=old, new_string="x"), context())
    with pytest.raises(ToolError, match="nothing to edit"):
        await EDIT_FILE.run(EditFile(path="x.py", old_string="def", new_string="def"), context())


async def test_an_edit_keeps_crlf_and_bytes_that_are_no_utf8(root: Path, context) -> None:
    (root / "dos.txt").write_bytes(b"one\r\ntwo\r\n\xff\r\n")
    await EDIT_FILE.run(EditFile(path="dos.txt", old_string="one\ntwo", new_string="1\n2"), context())
    assert (root / "dos.txt").read_bytes() == b"1\r\n2\r\n\xff\r\n"


async def test_recovery_of_an_edit_compares_digests(root: Path, context) -> None:
    file = root / "x"
    file.write_text("before")
    call = EditFile(path="x", old_string="before", new_string="after")
    note = await EDIT_FILE.plan(call, context())
    assert note == {"path": "x", "before": sha("before"), "after": sha("after")}
    assert file.read_text() == "before"  # planning changes nothing

    not_done = await EDIT_FILE.recover(call, context(note=note))
    assert (file.read_text(), not_done.detail["replacements"]) == ("after", 1)

    done = await EDIT_FILE.recover(call, context(note=note))
    assert (file.read_text(), done.detail["found_done"]) == ("after", True)

    file.write_text("somebody else")
    assert await EDIT_FILE.recover(call, context(note=note)) is None
    file.unlink()
    assert await EDIT_FILE.recover(call, context(note=note)) is None
    assert await EDIT_FILE.recover(call, context()) is None


async def test_an_edit_of_a_file_that_changed_after_the_plan_is_refused(root: Path, context) -> None:
    (root / "x").write_text("before")
    call = EditFile(path="x", old_string="before", new_string="after")
    note = await EDIT_FILE.plan(call, context())
    (root / "x").write_text("before and more")

    with pytest.raises(ToolError, match="changed it at the same moment"):
        await EDIT_FILE.run(call, context(note=note))
    with pytest.raises(ToolError, match="does not exist"):
        await EDIT_FILE.plan(EditFile(path="y/z", old_string="a", new_string="b"), context())
    assert not (root / "y").exists()
