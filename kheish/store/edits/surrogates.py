"""Halves of surrogate pairs: JSON writes an emoji as two escapes, libyaml refuses them, and a half alone is no text."""

from __future__ import annotations

import re

#: a pair of escapes, behind whole pairs of backslashes at most: else its first backslash is escaped itself
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
#: characters of no meaning, one of which marks a pair while libyaml reads
_SENTINELS = "\ue0f0\ue0f1\uf8f0\U000f3a17\U0010f3b5"


def is_in(text: str) -> bool:
    """Return whether a text holds half of a pair, which no file and no answer can."""
    return not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text)


def hide(text: str) -> tuple[str, str | None]:
    """Replace pairs like `\\ud83d\\udc4d` by as many characters that mean nothing; `meant` knows by a scalar's quotes
    what they stand for. Returns the sentinel where there are any. *Rejected:* the character itself at once, for outside
    of double quotes the twelve characters are meant."""
    if "\\u" not in text or not _PAIR.search(text):
        return text, None
    sentinel = next((one for one in _SENTINELS if one not in text), None)
    if sentinel is None:
        return text, None
    return _PAIR.sub(lambda found: f"{found[1]}{sentinel}{found[2]}{found[3]}{sentinel * 3}", text), sentinel


def meant(text: str, sentinel: str, *, is_quoted: bool) -> str:
    """Return a scalar with what its hidden pairs stand for: the character in double quotes, as typed elsewhere."""

    def back(found: re.Match[str]) -> str:
        high, low = int(found[1], 16), int(found[2], 16)
        whole = chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        return whole if is_quoted else f"\\u{found[1]}\\u{found[2]}"

    return re.sub(f"{sentinel}([0-9a-fA-F]{{4}})([0-9a-fA-F]{{4}}){sentinel}{{3}}", back, text)
