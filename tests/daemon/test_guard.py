"""A fault of one reactor: it is reported, and neither the daemon nor the other reactors stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kheish.daemon.reactors.base import Guard, Reactor
from kheish.errors import StoreFailed
from kheish.state.encoding import Recorded


class _Failing(Reactor):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def start(self) -> None:
        raise self._error

    def heard(self, batch: Sequence[Recorded]) -> None:
        raise self._error


def test_a_fault_is_reported_and_passes_no_further() -> None:
    reports: list[str] = []
    guard, failing = Guard(reports.append), _Failing(OverflowError("timestamp out of range"))
    asyncio.run(guard.awaiting(failing, failing.start()))
    guard.hearing(failing)([])
    assert len(reports) == 2
    assert all("_Failing" in report and "OverflowError: timestamp out of range" in report for report in reports)


def test_a_failed_store_ends_the_daemon() -> None:
    reports: list[str] = []
    failing = _Failing(StoreFailed("no more"))
    with pytest.raises(StoreFailed):
        asyncio.run(Guard(reports.append).awaiting(failing, failing.start()))
    assert reports == []
