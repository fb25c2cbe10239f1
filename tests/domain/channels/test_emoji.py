"""Reactions: emoji as readers see them, of however many characters, and names; nothing else."""

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


@pytest.mark.parametrize("text", GOOD)
def test_an_emoji_or_its_name_is_a_reaction(text: str) -> None:
    emoji.check(text)


@pytest.mark.parametrize("text", BAD)
def test_other_texts_are_none(text: str) -> None:
    with pytest.raises(Invalid, match="one emoji"):
        emoji.check(text)
