"""Reactions: emoji as readers see them, of however many characters, and names, each in one spelling; nothing else."""

from __future__ import annotations

import pytest

from kheish.domain.channels import emoji
from kheish.errors import Invalid

GOOD = (
    "👍", "👍🏽", "❤", "❤️", "✅", "©️", "\u2139\ufe0f", "1️⃣", "#⃣", "🇩🇪", "🏳️‍🌈", "👩‍🔧", "👨‍👩‍👧‍👦", "👩🏻‍❤️‍💋‍👩🏿",
    "🧑🏿‍🦽‍➡️",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", ":ok:", ":+1:", ":-1:", ":thumbs_up:",
)  # fmt: skip
BAD = (
    "", " ", "\u200b", "\ufe0f", "a", "1", "#", "ok", "<script>", "../..", "👍👍", "👍" * 64, "👍 ", "👍\n", "👍\u200d",
    "\u200d👍", "👍\ufe0f\ufe0f", "👍‍👍‍👍‍👍‍👍", "e\u0301", "🇩", "🇩🇪🇫🇷", "::", ":A:", ":a b:", ":../:", ":<b>:",
    f":{'a' * 39}:",
)  # fmt: skip


SPELLINGS = (
    ("👍", "👍\ufe0f", ":+1:", ":thumbsup:", ":thumbs_up:", ":thumbs-up:"),
    ("❤\ufe0f", "❤", ":heart:"),
    ("1\ufe0f\u20e3", "1\u20e3"),
    ("☝🏽", "☝\ufe0f🏽"),
    ("🏃\u200d♂\ufe0f", "🏃\u200d♂"),
    ("👁\ufe0f\u200d🗨\ufe0f", "👁\u200d🗨", "👁\ufe0f\u200d🗨"),
    ("👍🏽", ":thumbs_up_medium_skin_tone:"),
)  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_an_emoji_or_its_name_is_a_reaction(text: str) -> None:
    normal = emoji.normal(text)
    assert emoji.normal(normal) == normal and not normal.startswith(":")


@pytest.mark.parametrize("spellings", SPELLINGS)
def test_all_spellings_of_an_emoji_are_one_reaction(spellings: tuple[str, ...]) -> None:
    assert {emoji.normal(one) for one in spellings} == {spellings[0]}


@pytest.mark.parametrize("text", BAD)
def test_other_texts_are_none(text: str) -> None:
    with pytest.raises(Invalid, match="one emoji"):
        emoji.normal(text)


@pytest.mark.parametrize("text", [":nope:", ":thumbs_upp:", ":regional_indicator_symbol_letter_a:"])
def test_an_unknown_name_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"no emoji is called|one emoji"):
        emoji.normal(text)
