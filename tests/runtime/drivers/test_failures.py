"""What a provider's error means, where statuses and codes alone do not say it."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.runtime.drivers import failures


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert failures.retry_after(headers, now=10.0) == seconds


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 8192 tokens"),
        (400, "the request exceeds the available context size, try increasing it"),
        (400, "prompt is too long: 208310 tokens > 200000 maximum"),
        (413, "Input is too long for requested model."),
    ],
)
def test_too_long_is_known_by_its_message(status: int, message: str) -> None:
    assert failures.kind_of(status, None, message) == "context_length"


@pytest.mark.parametrize(
    ("status", "message"),
    [(429, "too many tokens per minute"), (400, "tools must be a list"), (400, "max_tokens is too large")],
)
def test_other_complaints_about_tokens_are_not_too_long(status: int, message: str) -> None:
    assert failures.kind_of(status, None, message) != "context_length"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "slow down"}, "rate_limited"),
        ({"code": "502"}, "server"),
        ({"type": "rate_limit_error"}, "rate_limited"),
        ({"code": "context_length_exceeded"}, "context_length"),
        ({"type": "overloaded_error"}, "server"),
        ("out of memory", "server"),
    ],
)
def test_an_error_within_a_stream_has_its_kind(error: Any, kind: str) -> None:
    assert failures.from_event(error).kind == kind
