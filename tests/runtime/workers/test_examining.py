"""The examination of workers that cannot be reached: it ends, with the reason."""

from __future__ import annotations

import asyncio

import pytest

from kheish.domain.workers.definition import WorkerFile
from kheish.errors import WorkerUnreachable
from kheish.runtime.workers import examining
from kheish.runtime.workers.carrier import Stream
from kheish.runtime.workers.connection import Connection

FILE = WorkerFile(carrier="ssh", address="far")


class Refusing:
    """A carrier to a closed port."""

    kind = "ssh"

    async def open(self) -> Stream:
        raise WorkerUnreachable("Connection refused")


class Silent:
    """A carrier to a host that never answers."""

    kind = "ssh"

    async def open(self) -> Stream:
        await asyncio.Event().wait()
        raise AssertionError


async def test_the_first_failed_attempt_ends_an_examination_with_its_reason() -> None:
    link = Connection("far", Refusing(), "home-1")
    try:
        for _ in range(2):  # the second one begins between two attempts
            (check,) = await asyncio.wait_for(examining.examine(link, FILE), 20)
            assert (check.name, check.verdict, check.detail) == ("connection", "error", "Connection refused")
    finally:
        await link.close()


async def test_an_examination_of_a_host_without_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "_SECONDS", 0.05)
    link = Connection("far", Silent(), "home-1")
    try:
        (check,) = await asyncio.wait_for(examining.examine(link, FILE), 20)
        assert check.verdict == "error" and "no answer" in check.detail
    finally:
        await link.close()
