"""Texts that show nothing, and digits of other scripts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kheish
from kheish import ids, settings
from kheish.errors import Invalid
from kheish.store.git import revisions
from kheish.texts import answer_command, is_blank, is_number

HOUSE = Path(kheish.__file__).parent


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\t\n",
        "\u00a0",
        "\u200b",
        "\u2060\ufeff",
        "\u3164",
        "\u2800",
        "\u202e",
        "\u115f",
        "\ufe0f",
        "\0",
        "\U000e0041",
    ],
)
def test_a_text_that_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "\u200ba", "👍", "א", "가", "ᅀ", "e\u0301", "⠁", "."])
def test_a_text_that_shows_something_is_not(text: str) -> None:
    assert not is_blank(text)


def test_a_blank_text_is_found_fast() -> None:
    assert is_blank("\u200b" * 1_000_000) and not is_blank("\u200b" * 1_000_000 + "x")


@pytest.mark.parametrize("text", ["\u0663", "\uff13", "\u00b2", "", "-1", "1.0", "1_0", " 1"])
def test_only_the_digits_0_to_9_are_a_number(text: str) -> None:
    assert not is_number(text)


def test_digits_of_other_scripts_are_no_digits() -> None:
    assert is_number("30") and ids.duration("30s") == 30 and ids.size("3 kB") == 3000
    for text in ("\u0663\u0660s", "\uff13\uff10s", "3\u0660m"):
        with pytest.raises(ValueError, match="is not a duration"):
            ids.duration(text)
    with pytest.raises(ValueError, match="is not a size"):
        ids.size("\u0663kB")
    with pytest.raises(ValueError, match="is not an address"):
        settings.split_bind("127.0.0.1:\u0668\u0660")
    assert isinstance(revisions.parse("n:5"), revisions.Event)
    with pytest.raises(Invalid):
        revisions.parse("n:\u0665")


#: patterns of JSON Schema, where `\\d` is 0 to 9
_OF_SCHEMAS = {"settings.py", "domain/scripts.py", "api/http/openapi.py", "offline/model_fields.py"}


def test_no_pattern_takes_digits_of_other_scripts() -> None:
    """`\\d` in a pattern of texts would."""
    found = []
    for path in sorted(HOUSE.rglob("*.py")):
        name = path.relative_to(HOUSE).as_posix()
        if name in _OF_SCHEMAS or name.startswith(("generate/", "client/shapes")):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if r"\d" in line and not re.search(r'rb["\']', line):
                found.append(f"{name}:{number}")
    assert not found


def test_the_command_that_answers_a_question_can_be_copied() -> None:
    options = [{"id": "a b"}, {"id": "c"}]
    items = [{"id": "q1", "options": options[1:]}, {"id": "q2", "options": options}, {"id": "q3", "options": []}]

    line = answer_command({"question_id": "q_1", "questions": items})

    assert line == "kheish questions answer q_1 q1=c 'q2=a b' 'q3=…'"
