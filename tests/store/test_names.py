"""Names of files as text: whatever the bytes, there and back."""

from __future__ import annotations

import json
import os
import sqlite3

import orjson
from hypothesis import given, strategies as st

from kheish.store import names

#: what could go wrong: what reads like an escape, what is nearly UTF-8, halves of surrogate pairs, too long forms
PIECES = [
    b"\\",
    b"x",
    b"5c",
    b"e9",
    b"\xe9",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf5",
    b"\n",
    b"/",
    b"\xf0\x9f",
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=3), min_size=1, max_size=8))
def test_every_name_is_text_that_json_and_sqlite_take_and_leads_back(pieces: list[bytes]) -> None:
    raw = b"".join(pieces).replace(b"\0", b"0")

    text = names.text(raw)

    assert os.fsencode(names.disk(text)) == raw
    assert names.text(os.fsdecode(raw)) == text
    assert json.loads(orjson.dumps(text)) == text
    assert sqlite3.connect(":memory:").execute("SELECT ?", (text,)).fetchone() == (text,)


def test_names_that_are_utf8_stay_as_they_are() -> None:
    for name in ("note.md", "café", "日本", "a\\b", "a b ", "-x", "line\nbreak"):
        assert names.text(name) == names.disk(name) == name
        assert names.is_text(name)
    assert names.text(b"caf\xe9") == r"caf\xe9" and not names.is_text(r"caf\xe9")
    assert names.text(rb"a\xe9") == r"a\x5cxe9"


def test_no_escape_makes_a_separator_or_another_spelling() -> None:
    for text in (r"a\x2f..\x2fb", r"\x2e\x2e", r"\x00", r"\xc3\xa9", r"\x5cb"):
        assert names.disk(text) == text
