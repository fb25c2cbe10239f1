"""A worker's file that changes while calls wait for the worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from kheish.errors import NotFound, WorkerUnreachable
from kheish.runtime.workers.carrier import Carrier, Stream
from kheish.runtime.workers.pool import Workers
from tests.runtime.workers.harness import until


@dataclass(frozen=True)
class Closed:
    """A carrier to a closed port."""

    address: str
    kind: str = "ssh"

    async def open(self) -> Stream:
        raise WorkerUnreachable(f"{self.address} refuses.")


async def test_calls_that_wait_for_a_worker_outlast_edits_of_its_file_and_end_with_it() -> None:
    file: Carrier | Exception = Closed("first")

    def find(worker: str) -> Carrier:
        if isinstance(file, Exception):
            raise file
        return file

    workers = Workers(find, "home-1")
    link = workers.link("far")
    waiting = asyncio.ensure_future(link.connected())
    try:
        await until(lambda: link.health.reason == "first refuses.")
        attempts = link._keeping
        file = Closed("first")  # a title was edited
        await workers.renew("far")
        assert workers.link("far") is link and link._keeping is attempts, "nothing is disturbed"
        for now, why in (
            (WorkerUnreachable("It is disabled."), "It is disabled."),
            (Closed("other"), "other refuses."),
        ):
            file = now
            await workers.renew("far")
            await until(lambda why=why: link.health.reason == why)
            assert not waiting.done()
        file = NotFound("There is no worker 'far'.")
        await workers.renew("far")
        with pytest.raises(WorkerUnreachable, match="There is no worker 'far'"):
            await asyncio.wait_for(waiting, 20)
    finally:
        waiting.cancel()
        await workers.close()
