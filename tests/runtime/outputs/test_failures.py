"""Failures of attempts: those that the next attempt would meet as well are dead letters at once."""

from __future__ import annotations

import pytest

from kheish.auth import netguard
from kheish.errors import AddressNotAllowed, CredentialRevoked, FetchFailed, Invalid, KheishError, NotConnected
from kheish.runtime.outputs.base import NotDelivered, Passing, Refused, Unclear, failure_of


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (AddressNotAllowed("x"), Refused), (Invalid("x"), Refused), (NotConnected("x"), Passing),
        (FetchFailed("x"), Unclear), (CredentialRevoked("x"), Passing),
    ],
)  # fmt: skip
def test_what_is_repeated(error: KheishError, failure: type[NotDelivered]) -> None:
    assert type(failure_of(error)) is failure


@pytest.mark.parametrize("url", ["http://metadata.example/", "http://a.example/\r\nX: y", "ftp://a.example/"])
async def test_a_name_that_leads_inside_and_a_text_that_is_no_url_are_refused_for_good(url: str) -> None:
    async def inside(*_: object) -> list[str]:
        return ["169.254.169.254"]

    with pytest.raises(KheishError) as refused:
        await netguard.check(url, resolve=inside)
    assert isinstance(failure_of(refused.value), Refused)
