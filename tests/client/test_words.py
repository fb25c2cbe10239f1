"""An agent's words are printed once, whatever frames came."""

import pytest

from kheish.client.words import Words


def delta(offset: int, text: str, *, turn: int = 0, attempt: int = 1) -> dict[str, object]:
    return {"turn": turn, "attempt": attempt, "offset": offset, "text": text}


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [(0, "I will "), (7, "look at the "), (19, "test.")],
        [(0, "I will ")],  # the end is missing
        [(0, "I will "), (19, "test.")],  # the middle is missing
        [(7, "look at the ")],  # the beginning is missing
        [(0, "I will "), (0, "I will look"), (7, "look at")],  # some twice
    ],
)
def test_text_comes_whole_and_once(frames: list[tuple[int, str]]) -> None:
    words = Words()

    printed = "".join(words.delta(delta(offset, text)) for offset, text in frames)
    printed += words.whole(0, "I will look at the test.")

    assert printed == "I will look at the test."


def test_late_frames_of_an_answer_that_is_complete_say_nothing() -> None:
    words = Words()
    assert words.whole(3, "done") == "done"

    assert words.delta(delta(0, "done", turn=3)) == ""
    assert words.delta(delta(0, "next", turn=4)) == "next"


def test_another_attempt_begins_anew() -> None:
    words = Words()
    words.delta(delta(0, "The answ"))

    assert words.breaks_off(delta(0, "It", attempt=2))
    assert words.delta(delta(0, "It", attempt=2)) == "It"
    assert words.whole(0, "It is so.") == " is so."


def test_what_was_scrubbed_after_it_was_shown_is_not_printed_again() -> None:
    words = Words()
    words.delta(delta(0, "key=abc done"))

    assert words.whole(0, "key=*** done") == ""
