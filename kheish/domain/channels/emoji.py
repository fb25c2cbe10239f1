"""Reactions: a single emoji as a reader sees it, or the name of one such as `:thumbs_up:`."""

from __future__ import annotations

from functools import cache
from typing import Any

from kheish.errors import Fault, Invalid

#: characters of the longest reaction: a name
MOST_CHARACTERS = 40
#: an emoji of several characters by Unicode (UTS #51, ED-17): a flag, a keycap, or pictures that are joined, of which
#: the longest that there is has four
_FLAG = r"\p{RI}\p{RI}"
_KEYCAP = r"[0-9#*]\uFE0F?\u20E3"
_PICTURE = r"(?!\p{RI})(?:\p{Extended_Pictographic}|\p{Emoji_Presentation})(?:\p{Emoji_Modifier}|\uFE0F)?"
_REGION = r"[\U000E0030-\U000E0039\U000E0061-\U000E007A]{1,6}\U000E007F"
_EMOJI = rf"(?:{_FLAG}|{_KEYCAP}|{_PICTURE}(?:{_REGION}|(?:\u200D{_PICTURE}){{0,3}}))"
_NAME = r":[a-z0-9+-][a-z0-9_+-]*:"


@cache
def _pattern() -> Any:
    import regex  # type: ignore[import-untyped]  # the standard library knows no properties of emoji

    return regex.compile(rf"{_EMOJI}|{_NAME}")


def check(text: str) -> None:
    """Check a reaction. Raises Invalid."""
    if len(text) > MOST_CHARACTERS or _pattern().fullmatch(text) is None:
        fault = "must be one emoji, or its name between colons, such as :thumbs_up:"
        raise Invalid(f"/emoji: {fault}.", errors=[Fault("/emoji", fault)])
