"""Reactions: a single emoji as a reader sees it, in one spelling: `:thumbs_up:` and `:+1:` are 👍."""

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
_PICTURE = r"(?!\p{RI})(?:\p{Extended_Pictographic}|\p{Emoji_Presentation})(?:\uFE0F?\p{Emoji_Modifier}|\uFE0F)?"
_REGION = r"[\U000E0030-\U000E0039\U000E0061-\U000E007A]{1,6}\U000E007F"
_EMOJI = rf"(?:{_FLAG}|{_KEYCAP}|{_PICTURE}(?:{_REGION}|(?:\u200D{_PICTURE}){{0,3}}))"
_NAME = r":[a-z0-9+-][a-z0-9_+-]*:"


#: the sign that a character is shown as a picture in colour; each that is not one by itself has it, unless a tone of
#: skin follows. Keyboards leave some out
_IN_COLOUR = "\ufe0f"
_BARE = r"(?!\p{Emoji_Presentation})\p{Emoji}(?!\p{Emoji_Modifier})"


@cache
def _pattern(expression: str) -> Any:
    import regex  # type: ignore[import-untyped]  # the standard library knows no properties of emoji

    return regex.compile(expression)


def normal(text: str) -> str:
    """Return a reaction in the spelling that all spellings of its emoji have: the emoji for a name, with all signs that
    it is shown in colour. The first call imports; call it in a thread.

    Raises Invalid.
    """
    emoji = _named(text) if len(text) <= MOST_CHARACTERS and _pattern(_NAME).fullmatch(text) else text
    if len(emoji) > MOST_CHARACTERS or _pattern(_EMOJI).fullmatch(emoji) is None:
        raise _invalid("must be one emoji, or its name between colons, such as :thumbs_up:")
    return str(_pattern(_BARE).sub(rf"\g<0>{_IN_COLOUR}", emoji.replace(_IN_COLOUR, "")))


def _named(text: str) -> str:
    """Return the emoji of a name between colons, with underscores or hyphens. Raises Invalid."""
    from rich.emoji import Emoji, NoEmoji  # its table has the names of Unicode, and those that chats use

    name = text[1:-1]
    for spelling in (name, name.replace("-", "_")):
        try:
            return str(Emoji(spelling))
        except NoEmoji:
            continue
    raise _invalid(f"no emoji is called {text}; send the emoji itself, or a name such as :thumbs_up:")


def _invalid(fault: str) -> Invalid:
    return Invalid(f"/emoji: {fault}.", errors=[Fault("/emoji", fault)])
