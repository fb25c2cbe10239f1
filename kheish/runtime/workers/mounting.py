"""The skills of runs on workers: their copies are sent there before a command that may use them, once for a content."""

from __future__ import annotations

import asyncio
import os
import tarfile
import tempfile
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from kheish.runtime.workers.connection import Connection
from kheish.runtime.workers.far.skills import FOLDER
from kheish.runtime.workers.pool import Workers

_PART = 4 * 1024 * 1024


class Mounting:
    """The skills that are sent to the workers of a daemon."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by worker

    async def folder(self, worker: str) -> Path | None:
        """Return the folder of the copies on a worker, as its unconfined commands see it; None if commands are
        confined there. Waits for the connection. Raises WorkerUnreachable."""
        if self._workers.terms(worker).sandbox != "off":
            return None
        link = self._workers.link(worker)
        await link.connected()
        assert link.health.hello is not None
        return Path(str(link.health.hello.capabilities.get("folder"))) / self._workers.home / FOLDER

    async def bring(self, link: Connection, copies: Mapping[str, Path]) -> list[tuple[str, str]]:
        """Send the copies that a worker lacks, and return name and digest of all. Raises KheishError."""
        by_digest = {place.name: place for place in copies.values()}
        if by_digest:
            async with self._locks[link.worker]:
                answer = await link.ask("skills", {"step": "missing", "digests": sorted(by_digest)})
                for digest in {str(one) for one in answer.get("missing", ())} & by_digest.keys():
                    await _send(link, digest, by_digest[digest])
        return [(name, place.name) for name, place in copies.items()]


async def _send(link: Connection, digest: str, place: Path) -> None:
    archive = await asyncio.to_thread(_pack, place)
    try:
        offset = 0
        while data := await asyncio.to_thread(archive.read, _PART):
            part = {"digest": digest, "offset": offset, "bytes": b64encode(data).decode()}
            await link.ask("skills", {"step": "put", **part})
            offset += len(data)
    finally:
        archive.close()
    await link.ask("skills", {"step": "made", "digest": digest})


def _pack(place: Path) -> IO[bytes]:
    """Return an archive of the files of a copy, which has plain files only, at its beginning. Blocks on disk."""
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with tarfile.open(fileobj=made, mode="w") as packed:
        for folder, _, names in os.walk(place):
            for name in names:
                path = Path(folder, name)
                packed.add(path, str(path.relative_to(place)), recursive=False)
    made.seek(0)
    return made
