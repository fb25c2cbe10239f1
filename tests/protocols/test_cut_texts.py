"""Clients that cut a text in the middle of an emoji send half of a pair: it must not end the conversation."""

from __future__ import annotations

import json

import pytest

from kheish.protocols.agui import inputs
from kheish.protocols.openai import bodies
from kheish.store.edits import surrogates

CASES = {
    r'"a\ud83d"': "a\ufffd",
    r'"\udc4da"': "\ufffda",
    r'"\uD83D\uDC4D"': "\N{THUMBS UP SIGN}",
    r'"\ud83d\ud83d\udc4d"': "\ufffd\N{THUMBS UP SIGN}",
    r'"\\ud83d"': r"\ud83d",
    r'"\\\ud83d\n"': "\\\ufffd\n",
    r'"\ud83d\\udc4d"': "\ufffd\\udc4d",
}


@pytest.mark.parametrize(("written", "meant"), CASES.items())
def test_halves_are_replaced_and_nothing_else(written: str, meant: str) -> None:
    assert json.loads(surrogates.replaced(written.encode())) == meant


def test_a_conversation_with_half_an_emoji_is_read() -> None:
    message = rb'{"role": "user", "id": "m", "content": "hi \ud83d"}'
    chat = bodies.chat(b'{"model": "kheish", "messages": [%s]}' % message)
    given = inputs.parse(
        b'{"threadId": "t", "runId": "r", "messages": [%s], "state": {}, "tools": [], "context": []}' % message
    )
    assert "hi \ufffd" in str(chat.messages) and "hi \ufffd" in str(given.messages)
