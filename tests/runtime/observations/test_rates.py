"""The rates of sources."""

from __future__ import annotations

import pytest

from kheish.errors import Invalid, RateExceeded
from kheish.runtime.observations.rates import Rates


def test_a_source_sends_its_rate_and_no_more() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    rates.take("s", (60, 60.0), 50)
    with pytest.raises(RateExceeded) as caught:
        rates.take("s", (60, 60.0), 20)
    assert caught.value.extra["retry_after"] == 10  # ten are left, and one comes back each second
    rates.take("s", (60, 60.0), 10)
    now[0] = 20.0
    rates.take("s", (60, 60.0), 20)
    rates.take("other", (60, 60.0), 60)
    with pytest.raises(Invalid):
        rates.take("s", (60, 60.0), 61)
    rates.take("s", None, 10_000)
