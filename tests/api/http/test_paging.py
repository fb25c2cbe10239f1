"""Query parameters and cursors."""

from __future__ import annotations

import pytest

from kheish.api.http import paging
from kheish.api.http.paging import Param
from kheish.errors import Invalid, InvalidCursor

KNOWN = (
    *paging.PAGE,
    paging.choices("status", ("queued", "running")),
    Param(name="wait", kind="duration"),
    Param(name="deep", kind="flag"),
)


def test_values_are_read_by_kind() -> None:
    given = paging.parse({"limit": "7", "status": ["queued", "running"], "wait": "1.5s", "deep": "true"}, KNOWN)

    assert given == {"limit": 7, "status": ("queued", "running"), "wait": 1.5, "deep": True}
    assert paging.parse({"status": "queued,running"}, KNOWN) == {"status": ("queued", "running")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"), ("limit", "201"), ("limit", "1e2"), ("limit", "²"), ("limit", "9" * 30), ("limit", ["1", "2"]),
        ("status", "done"), ("wait", "30"), ("wait", "2h"), ("deep", "yes"), ("cursor", ""), ("limt", "5"),
    ],
)  # fmt: skip
def test_bad_values_name_the_parameter(name: str, value: str | list[str]) -> None:
    with pytest.raises(Invalid) as raised:
        paging.parse({name: value}, KNOWN)

    assert [fault.path for fault in raised.value.errors] == [f"?{name}"]


def test_a_cursor_holds_for_its_own_list_only() -> None:
    cursor = paging.cursor_of("n", 41)

    assert paging.number_of("n", cursor) == 41
    assert paging.number_of("n", None) is None
    for kind, text in (("c", cursor), ("n", cursor + "A"), ("n", "ünï"), ("n", ""), ("n", paging.cursor_of("n", "x"))):
        with pytest.raises(InvalidCursor):
            paging.number_of(kind, text)
