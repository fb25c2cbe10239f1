"""Requests of this machine itself, which alone may do without a proof."""

from __future__ import annotations

import pytest

from kheish.api.connectors.ingress import is_direct


def test_a_request_without_a_proxy_is_direct() -> None:
    headers = {"host": "127.0.0.1", "content-type": "application/json"}
    assert is_direct("127.0.0.1", headers) and is_direct("::1", headers)
    assert not is_direct("10.0.0.1", headers) and not is_direct("", headers)


@pytest.mark.parametrize(
    "name",
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via", "cf-connecting-ip", "true-client-ip"],
)
def test_any_header_of_a_proxy_counts(name: str) -> None:
    assert not is_direct("127.0.0.1", {name: ""})
