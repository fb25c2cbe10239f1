"""Texts of users: blank ones, and numbers; and a command that several texts suggest."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Mapping
from typing import Any

#: characters that show nothing: white space, controls, and those that Unicode lets a reader ignore
#: (Default_Ignorable_Code_Point), with two that are drawn as nothing: the blank of Braille and filler of annotations
_UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff"
)
_BLANK = re.compile(rf"[{_UNSEEN}]*\Z")
#: joiners between letters of other scripts, and within emoji
_JOINERS = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: it is empty, or has only spaces and characters without a shape."""
    return _BLANK.match(text) is not None


def is_line(text: str) -> bool:
    """Return whether a text is one line of printable characters; emoji of several characters count as printable."""
    return text.isprintable() or _JOINERS.sub("", text).isprintable()


def fold(text: str) -> str:
    """Return a text in which two spellings that a reader takes for the same are equal: of either case, with accents as
    one character or two, and emoji with or without the sign that they are shown in colour."""
    return unicodedata.normalize("NFC", text.casefold()).replace("\ufe0f", "")


def is_number(text: str) -> bool:
    """Return whether a text is a whole number in the digits 0 to 9; Python takes those of other scripts, too."""
    return text.isascii() and text.isdigit()


def cut_middle(text: str, most: int) -> str:
    """Return a text with at most `most` characters: a long one without its middle. A message that quotes a value keeps
    its beginning, and its end, which says what to do."""
    head = most // 3
    return text if len(text) <= most else f"{text[:head]}…{text[head + 1 - most :]}"


def answer_command(question: Mapping[str, Any]) -> str:
    """Return the command that answers a question (a view of it), with its first options; it works as it is printed."""
    items = question["questions"]
    given = [f"{one['id']}={one['options'][0]['id'] if one['options'] else '…'}" for one in items]
    return " ".join(("kheish questions answer", question["question_id"], *map(shlex.quote, given)))
