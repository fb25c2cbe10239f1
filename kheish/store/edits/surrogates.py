"""Halves of surrogate pairs: JSON writes an emoji as two escapes, libyaml refuses them, and a half alone is not
text."""

from __future__ import annotations

import re

#: a pair of escapes, after whole pairs of backslashes at most: otherwise its first backslash is itself escaped
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
#: an escape in JSON: a pair, a half, or any other, which is passed over so that its backslash escapes nothing
_ESCAPE = re.compile(
    rb"\\(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\(u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
#: characters without meaning, one of which marks a pair while libyaml reads
_SENTINELS = "\ue0f0\ue0f1\uf8f0\U000f3a17\U0010f3b5"


def is_in(text: str) -> bool:
    """Return whether a text contains half of a pair, which no file and no response can hold."""
    return not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text)


def replaced(raw: bytes) -> bytes:
    """Return a JSON text with the replacement character for halves of pairs, which clients leave when they cut a
    text in the middle of an emoji."""
    if not _HALF.search(raw):
        return raw
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[2] else match[0], raw)


def hide(text: str) -> tuple[str, str | None]:
    """Replace pairs like `\\ud83d\\udc4d` by as many characters without meaning; return the sentinel if there are any.
    `meant` restores them by a scalar's quotes. *Rejected:* the character itself at once, since outside of double quotes
    the text means the twelve characters."""
    if "\\u" not in text or not _PAIR.search(text):
        return text, None
    sentinel = next((character for character in _SENTINELS if character not in text), None)
    if sentinel is None:
        return text, None
    return _PAIR.sub(lambda match: f"{match[1]}{sentinel}{match[2]}{match[3]}{sentinel * 3}", text), sentinel


def meant(text: str, sentinel: str, *, is_quoted: bool) -> str:
    """Return a scalar with its hidden pairs restored: as the character in double quotes, as typed elsewhere."""

    def back(match: re.Match[str]) -> str:
        high, low = int(match[1], 16), int(match[2], 16)
        whole = chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        return whole if is_quoted else f"\\u{match[1]}\\u{match[2]}"

    return re.sub(f"{sentinel}([0-9a-fA-F]{{4}})([0-9a-fA-F]{{4}}){sentinel}{{3}}", back, text)
