"""Lines of a server process: what is a message, and what becomes of one that cannot be understood."""

from __future__ import annotations

import pytest
from mcp_types import JSONRPCError, JSONRPCResponse

from kheish.runtime.mcp import stdio


def test_half_a_character_costs_only_itself() -> None:
    line = rb'{"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"description": "a \ud800 b \ud83d\ude00"}]}}'
    message = stdio.parse(line)

    assert isinstance(message, JSONRPCResponse)
    assert message.result == {"tools": [{"description": "a ? b \U0001f600"}]}


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc": "2.0", "id": 7, "result": null}',
        b'{"jsonrpc": "2.0", "id": 7, "error": {"code": "x", "message": "no"}}',
        b'{"jsonrpc": "2.0", "id": 7}',
    ],
)
def test_an_answer_that_cannot_be_understood_ends_its_request(line: bytes) -> None:
    message = stdio.parse(line)

    assert isinstance(message, JSONRPCError)
    assert (message.id, message.error.message) == (7, "the answer is no message of the protocol")


@pytest.mark.parametrize(
    "line", [b"Listening ...", b"{not json", b"[]", b'{"id": true}', b'{"method": 5, "id": 1}', b"{" * 99999]
)
def test_other_lines_are_no_messages(line: bytes) -> None:
    assert stdio.parse(line) is None
