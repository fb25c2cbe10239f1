"""How much a caller may ask for."""

from __future__ import annotations

import pytest

from kheish.api.http import media
from kheish.api.http.throttle import Rates, Streams
from kheish.errors import Invalid, TooMany


def test_a_caller_has_a_rate_of_its_own_and_gets_on_after_a_moment() -> None:
    now = [100.0]
    rates = Rates(lambda: now[0])
    for _ in range(10):
        rates.count("token:a", 10)
    with pytest.raises(TooMany, match="token:a sends more than 10 requests"):
        rates.count("token:a", 10)
    rates.count("token:b", 10)
    rates.count("token:a", None)
    now[0] += 0.15
    rates.count("token:a", 10)
    with pytest.raises(TooMany):
        rates.count("token:a", 10)


def test_streams_are_counted_by_caller() -> None:
    streams = Streams()
    streams.opened("token:a")
    streams.opened("token:a")
    with pytest.raises(TooMany, match="2 open event streams"):
        streams.check("token:a", 2)
    streams.check("token:b", 2)
    streams.check("token:a", None)
    streams.closed("token:a")
    streams.check("token:a", 2)


@pytest.mark.parametrize("number", ["1" + "0" * 19, "18446744073709551616", "-9223372036854775809", "9" * 5000])
def test_an_integer_that_no_journal_can_hold_is_refused(number: str) -> None:
    with pytest.raises(Invalid, match="64 bits"):
        media.plain_json(b'{"inputs": {"n": [%s0]}}' % number.encode())
    assert media.plain_json(b'{"a": 18446744073709551615, "b": -9223372036854775808, "c": "%s"}' % number.encode())
