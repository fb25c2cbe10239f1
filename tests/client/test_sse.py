"""The SSE parser, and where a follower goes on."""

import pytest

from kheish.client.sse import Following, Parser
from kheish.errors import Unreachable
from tests.support.daemon_standin import frame

DELTA = frame(None, "model.delta", text="h\u00fc")
STREAM = b": ping\n\n" + frame(1, "run.started") + DELTA + frame(2, "run.completed")


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
def test_frames_are_the_same_however_the_bytes_were_cut(size: int) -> None:
    place = Following(0)
    place.opened(None)

    events = [e for i in range(0, len(STREAM), size) for e in place.feed(STREAM[i : i + size])]

    assert [(e.n, e.kind) for e in events] == [(1, "run.started"), (None, "model.delta"), (2, "run.completed")]
    assert events[1].live and events[1].data["text"] == "h\u00fc"


def test_carriage_returns_and_several_data_lines_are_read() -> None:
    frames = list(Parser().feed(b"\xef\xbb\xbfid: 7\r\nevent: x\r\ndata: a\r\ndata:b\r\n\r\ndata: c\r\n\r\n"))

    assert frames == [("7", "x", "a\nb"), (None, "message", "c")]


def test_what_was_seen_before_a_cut_is_not_seen_again() -> None:
    place = Following(0)
    place.opened(None)
    assert [e.n for e in place.feed(frame(1, "a") + frame(2, "b") + b"id: 3\ndata: {")] == [1, 2]

    place.cut(None)
    assert place.query() == {"after": "2"}
    place.opened(None)

    assert [e.n for e in place.feed(frame(2, "b") + frame(3, "c"))] == [3]


def test_a_live_only_follower_goes_on_from_where_its_stream_began() -> None:
    place = Following(None)
    assert place.query() == {}

    place.opened("41")

    assert place.query() == {"after": "41"}


def test_a_first_attempt_fails_at_once_and_a_later_one_within_bounds() -> None:
    with pytest.raises(Unreachable):
        Following(0).cut(Unreachable("gone"))

    place = Following(0, patience=5.0)
    place.opened(None)
    waited = 0.0
    with pytest.raises(Unreachable):
        while waited < 100:
            delay = place.cut(Unreachable("gone"))
            assert delay <= 2.5
            waited += delay
    assert 5.0 <= waited < 8.0
