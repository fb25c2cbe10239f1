"""Plain text: Markdown, CSV, JSON and all else that is text already."""

from __future__ import annotations

import codecs

from kheish.jobs.converting.limits import Refused

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


def decode(raw: bytes) -> str:
    """Return the text of a file by its byte order mark, else as UTF-8. Raises Refused."""
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeError as error:
        raise Refused(f"It is not text in {encoding.removesuffix('-sig').upper()}.") from error
    if "\0" in text:
        raise Refused("It has NUL characters, so it is not text.")
    return text


def loose(raw: bytes, encoding: str | None) -> str:
    """Return text in an encoding that its sender names, with a mark for each byte that does not fit."""
    try:
        return raw.decode(encoding or "utf-8", "replace")
    except LookupError:
        return raw.decode("utf-8", "replace")
