"""Every name on disk is shown as plain text on one line, and read back as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as some

from kheish.beneath import Door, files, names, walk

_BYTES = some.binary(min_size=1, max_size=40).map(lambda raw: raw.replace(b"\0", b"").replace(b"/", b"") or b"x")


@given(_BYTES)
def test_any_name_is_shown_and_meant(raw: bytes) -> None:
    shown = names.shown(os.fsdecode(raw))
    assert os.fsencode(names.meant(shown)) == raw
    assert shown.encode().decode() == shown and shown.isprintable()


@given(some.text(alphabet="\\x41eé\udce9\n", min_size=1, max_size=12))
def test_backslashes_are_read_back(name: str) -> None:
    assert names.meant(names.shown(os.fsdecode(os.fsencode(name)))) == os.fsdecode(os.fsencode(name))


def test_what_is_plain_stays_as_it_is() -> None:
    for name in ("src/app.py", "été.txt", "a b", "C:\\dir", "日本", "😀"):
        assert names.shown(name) == name and names.meant(name) == name
    assert names.shown(os.fsdecode(b"menu_\xe9t\xe9.txt")) == r"menu_\xe9t\xe9.txt"
    assert names.shown("a\u202eb\n") == r"a\xe2\x80\xaeb\x0a"
    for text in ("\ud800", "a\0b", r"a\x00b"):
        with pytest.raises(ValueError):
            names.meant(text)


def test_every_byte_in_a_real_name(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for byte in range(1, 256):
        name = b"a" + bytes([byte]) + b"\\x"
        if byte == ord("/"):
            continue
        (tmp_path / os.fsdecode(name)).write_bytes(bytes([byte]))
    found = sorted(os.listdir(tmp_path))
    assert len(found) == 254
    for name in found:
        assert files.read(door, names.shown(name), 9) == os.fsencode(name)[1:2]
        with walk.place(door, names.shown(name)) as here:
            assert here.path == names.shown(name)
