"""Texts of outputs: parts, Telegram's HTML, letters, and pauses that a receiver asks for."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st

from kheish.runtime.outputs import chunks, telegram
from kheish.runtime.outputs.http import retry_after

MARKDOWN = st.lists(
    st.sampled_from(["word ", "x" * 70, "\n", "\n\n", "```\n", "```py\n", "~~~~\n", "**b** ", "`c`", "<&>", "é😀"]),
    max_size=200,
).map("".join)


@given(MARKDOWN, st.integers(300, 600))
def test_no_part_is_too_long_and_no_word_is_lost(text: str, most: int) -> None:
    parts = chunks.split(text, most)
    assert parts == chunks.split(text, most) and all(len(part) <= most for part in parts)

    def words(of: str) -> str:
        return "".join(of.split()).replace("```py", "").replace("`", "").replace("~", "")

    assert words("".join(parts)) == words(text)


def test_a_fence_that_is_split_is_closed_and_opened_again() -> None:
    parts = chunks.split("Before\n\n```python\n" + "line of code\n" * 60 + "```\nafter", 400)
    assert len(parts) > 1 and parts[1].startswith("```python\n")
    assert all(part.count("```") % 2 == 0 for part in parts)


class Strict(HTMLParser):
    """Telegram's parser: each tag is closed in order, and only some exist."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag in ("b", "code", "pre") and not attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@given(MARKDOWN)
def test_html_for_telegram_is_always_well_formed(text: str) -> None:
    parser = Strict()
    parser.feed(telegram.as_html(text))
    parser.close()
    assert not parser.open and parser.text.count("<&>") == text.count("<&>")


@given(MARKDOWN)
def test_parts_for_telegram_fit_in_its_own_count(text: str) -> None:
    assert all(len(part.encode("utf-16-le")) // 2 <= 600 for part in telegram.split(text, 600))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0), ("0", 0.0), ("Sun, 29 Nov 2026 12:00:30 GMT", 30.0), ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("999999999", 86_400.0), ("soon", None), ("", None), ("-5", None), ("Xyz, 99 Foo", None),
    ],
)  # fmt: skip
def test_both_forms_of_retry_after_are_read(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, 1795953600.0) == seconds
