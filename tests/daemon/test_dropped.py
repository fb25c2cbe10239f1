"""What a file of the inbox says, as editors write it."""

from __future__ import annotations

import pytest

from kheish.daemon import dropped

BOM = b"\xef\xbb\xbf"


@pytest.mark.found("B2")
@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("t.md", b"do it\n"),
        ("t.md", BOM + b"do it\n"),
        ("t.txt", BOM + b"do it\n"),
        ("t.yaml", BOM + b'content: "do it\\n"\n'),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_task(name: str, raw: bytes) -> None:
    assert dropped.read(f"inbox/s/{name}", name, raw).content == "do it\n"
