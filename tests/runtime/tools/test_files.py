"""read_file and list_files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.runtime.tools.base import ToolError
from kheish.runtime.tools.files import LIST_FILES, READ_FILE, ListFiles, ReadFile


async def test_lines_come_numbered_with_how_to_read_on(root: Path, context) -> None:
    (root / "a.txt").write_text("".join(f"line {n}\n" for n in range(1, 11)))

    part = await READ_FILE.run(ReadFile(path="a.txt", offset=3, limit=2), context())
    whole = await READ_FILE.run(ReadFile(path="a.txt"), context())

    assert part.content.startswith(
        "     3\tline 3\n     4\tline 4\n\n[lines 3 to 4 of 10. Read on with offset=5; sha256 "
    )
    assert part.detail["total_lines"] == 10
    assert "[10 lines, the whole file; sha256 " in whole.content
    assert part.detail["sha256"] == whole.detail["sha256"]


async def test_long_lines_and_long_files_are_cut_and_said_so(root: Path, context) -> None:
    (root / "long.txt").write_text("x" * 50_000 + "\nshort\n")
    (root / "many.txt").write_text("y" * 99 + "\n" + ("z" * 99 + "\n") * 4000)

    long = await READ_FILE.run(ReadFile(path="long.txt"), context())
    many = await READ_FILE.run(ReadFile(path="many.txt", limit=5000), context())

    assert "… [48000 more characters of this line]\n     2\tshort" in long.content
    assert len(many.content.encode()) < READ_FILE.max_result_bytes
    assert f"Read on with offset={many.detail['last_line'] + 1}" in many.content
    assert many.detail["total_lines"] == 4001
    on = await READ_FILE.run(ReadFile(path="many.txt", offset=many.detail["last_line"] + 1, limit=1), context())
    assert on.detail["first_line"] == many.detail["last_line"] + 1


async def test_what_is_not_plain_text_is_said(root: Path, context) -> None:
    (root / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (root / "latin.txt").write_bytes("caf\xe9\r\n".encode("latin-1"))
    (root / "empty").write_bytes(b"")

    assert (await READ_FILE.run(ReadFile(path="image.png"), context())).content == (
        "image.png is a binary file of 10 bytes; it is not shown."
    )
    latin = (await READ_FILE.run(ReadFile(path="latin.txt"), context())).content
    assert "lines end in CRLF" in latin
    assert "not all of it is UTF-8" in latin
    assert (await READ_FILE.run(ReadFile(path="empty"), context())).content == "empty is empty."
    with pytest.raises(ToolError, match="has 1 lines; offset 9 is after the end"):
        await READ_FILE.run(ReadFile(path="latin.txt", offset=9), context())


async def test_a_folder_is_listed_folders_first_links_not_followed(root: Path, context) -> None:
    (root / "src" / "deep").mkdir(parents=True)
    (root / "src" / "deep" / "x.py").write_text("12")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("")
    (root / "b.txt").write_text("12345")
    (root / "out").symlink_to("/etc")

    flat = await LIST_FILES.run(ListFiles(), context())
    deep = await LIST_FILES.run(ListFiles(path=".", depth=3), context())

    assert flat.content.splitlines() == [".:", ".git/", "src/", "b.txt  5 bytes", "out -> /etc"]
    assert "src/deep/x.py  2 bytes" in deep.content
    assert "config" not in deep.content
    assert "passwd" not in deep.content


async def test_a_large_folder_is_cut(root: Path, context) -> None:
    for number in range(520):
        (root / f"{number:04}").touch()
    result = await LIST_FILES.run(ListFiles(), context())
    assert result.content.endswith("[cut after 500 entries; list a folder below, or use glob_search]")
    assert result.detail["cut"] is True
    with pytest.raises(ToolError, match="not a folder"):
        await LIST_FILES.run(ListFiles(path="0001"), context())
