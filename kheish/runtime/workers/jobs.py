"""The jobs of workers, by the interface of local ones. The id of such a job names its worker: `job_….big`.

So an id from the journal (of a call that is recovered, of a task) leads to the job where it is.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from kheish.errors import NotFound, WorkerLost, WorkerProtocolError
from kheish.ids import MOST
from kheish.jobs.commands import Commands
from kheish.jobs.following import Kept, Text
from kheish.jobs.values import JobEnd, JobSpec, JobState
from kheish.runtime.workers.connection import Connection

log = logging.getLogger(__name__)

_KEPT = JobSpec.output_limit
_PAGE = 512 * 1024
#: seconds that a stop waits for a lost worker; the job is then ended when it returns
_STOP_PATIENCE = 5.0
#: TERM to KILL, so that a cancelled command has ended there within 5 s
_GRACE = 3.0


def joined(job: str, worker: str) -> str:
    """Return the id of a worker's job."""
    return f"{job}.{worker}"


def split(job_id: str) -> tuple[str, str | None]:
    """Return the id of a job on its machine, and the worker; None for this machine."""
    job, _, worker = job_id.partition(".")
    return job, worker or None


class FarJobs:
    """The jobs of one worker. `most` of them run at the same time; others wait there (None: no limit)."""

    def __init__(self, link: Connection, most: int | None = None) -> None:
        self._link = link
        self._most = most

    async def start(self, job_id: str) -> None:
        """Start the job, once there is room for it.

        After a lost connection it is started again, since the claim lets one runner run it; if it is missing then, it
        may have run, which `wait` reports as gone.
        """
        was_sent = False
        while True:
            try:
                await self._link.call("start", {**self._job(job_id), "most": self._most})
                return
            except WorkerLost:
                was_sent = True
            except NotFound:
                if not was_sent:
                    raise
                return

    async def wait(self, job_id: str, on_output: Callable[[str], None]) -> JobEnd | None:
        """Follow the output, over lost connections from the last offset on. Return None if the job is gone."""
        kept, text = Kept(_KEPT), Text(on_output)

        def keep(offset: int, data: bytes) -> None:
            kept.add(offset, data)
            text.add(offset, data)

        facts = await self._to_the_end(job_id, lambda: text.position, keep)
        text.end()
        return None if facts is None else _end(facts, kept)

    async def ended(self, job_id: str) -> JobEnd | None:
        """Wait for the end, and read the output only then."""
        facts = await self._to_the_end(job_id, lambda: MOST, lambda *_: None)
        if facts is None:
            return None
        kept = Kept(_KEPT)
        while True:
            begin, data, _ = await self.output(job_id, kept.position, _PAGE)
            if not data:
                return _end(facts, kept)
            kept.add(begin, data)

    async def _to_the_end(
        self, job_id: str, position: Callable[[], int], on_data: Callable[[int, bytes], None]
    ) -> Mapping[str, Any] | None:
        while True:
            try:
                answer = await self._link.call("follow", {**self._job(job_id), "offset": position()}, on_data)
                return _object(answer["end"])
            except WorkerLost:
                if await self.look(job_id) is JobState.UNCLAIMED:
                    await self.start(job_id)  # the machine may have been restarted before the job began
            except NotFound:
                return None

    async def output(self, job_id: str, start: int | None, most: int) -> tuple[int, bytes, int]:
        """Return a part of the output so far. Raises NotFound."""
        answer = await self._link.ask("output", {**self._job(job_id), "start": start, "most": most})
        try:
            begin, data, total = int(answer["begin"]), b64decode(answer["bytes"]), int(answer["total"])
        except (KeyError, TypeError, ValueError) as error:
            raise WorkerProtocolError("The worker's answer about an output is not understood.") from error
        return begin, data[:most], total

    async def owners(self) -> Mapping[str, str]:
        """Return the owner, a run, of each job there that is this daemon's."""
        answer = await self._link.ask("jobs", {})
        listed = answer.get("jobs")
        if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
            raise WorkerProtocolError("The worker's list of jobs is not understood.")
        return {joined(str(one.get("job")), self._link.worker): str(one.get("owner")) for one in listed}

    async def look(self, job_id: str) -> JobState:
        """Return the present state."""
        answer = await self._link.ask("state", self._job(job_id))
        try:
            return JobState(answer["state"])
        except (KeyError, ValueError) as error:
            raise WorkerProtocolError("The worker's answer about a job is not understood.") from error

    async def stop(self, job_id: str, grace: float = 5.0) -> None:
        """End the job and all its processes. If the worker is lost, that happens when it returns. Raises NotFound."""
        asked = asyncio.ensure_future(self._link.ask("stop", {**self._job(job_id), "grace": min(grace, _GRACE)}))
        done, _ = await asyncio.wait([asked], timeout=_STOP_PATIENCE + _GRACE)
        if done:
            asked.result()
            return
        log.warning("the worker %s is lost: %s is ended when it returns", self._link.worker, job_id)
        self._link.later(asked)

    async def drop(self, job_id: str) -> None:
        """Delete the job's folder. A lost worker's goes when it returns. Raises Conflict."""
        asked = asyncio.ensure_future(self._link.ask("remove", self._job(job_id)))
        done, _ = await asyncio.wait([asked], timeout=_STOP_PATIENCE)
        if done:
            asked.result()
        else:
            self._link.later(asked)

    def _job(self, job_id: str) -> dict[str, Any]:
        return {"job": split(job_id)[0]}


class Routed:
    """All jobs: those of this machine, and by their ids those of workers."""

    def __init__(self, local: Commands, far: Callable[[str], FarJobs]) -> None:
        self.local = local
        self._far = far

    def _at(self, job_id: str) -> Commands | FarJobs:
        worker = split(job_id)[1]
        return self.local if worker is None else self._far(worker)

    async def create(self, job_id: str, spec: JobSpec) -> None:
        """Create a job on this machine."""
        await self.local.create(job_id, spec)

    async def start(self, job_id: str) -> None:
        """Start a job where it is."""
        await self._at(job_id).start(job_id)

    async def wait(self, job_id: str, on_output: Callable[[str], None]) -> JobEnd | None:
        """Follow a job where it is."""
        return await self._at(job_id).wait(job_id, on_output)

    async def ended(self, job_id: str) -> JobEnd | None:
        """Wait for the end of a job where it is."""
        return await self._at(job_id).ended(job_id)

    async def output(self, job_id: str, start: int | None, most: int) -> tuple[int, bytes, int]:
        """Read the output of a job where it is."""
        return await self._at(job_id).output(job_id, start, most)

    async def look(self, job_id: str) -> JobState:
        """Return the state of a job where it is."""
        return await self._at(job_id).look(job_id)

    async def stop(self, job_id: str, grace: float = 5.0) -> None:
        """End a job where it is."""
        await self._at(job_id).stop(job_id, grace)

    async def drop(self, job_id: str) -> None:
        """Delete a job where it is."""
        await self._at(job_id).drop(job_id)

    def claim(self, job_id: str) -> bool:
        """Claim a job of this machine."""
        return self.local.claim(job_id)


def _object(value: Any) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, Mapping):
        raise WorkerProtocolError("The worker's answer about the end of a job is not understood.")
    return value


def _end(facts: Mapping[str, Any], kept: Kept) -> JobEnd:
    """Return the end of a job, from what the worker says about it."""
    output, is_cut = kept.text()

    def whole(name: str) -> int | None:
        value = facts.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    exceeded, duration = facts.get("exceeded"), facts.get("duration")
    return JobEnd(
        exit_status=whole("exit_status"),
        signal=whole("signal"),
        timed_out=facts.get("timed_out") is True,
        stopped=facts.get("stopped") is True,
        output=output,
        output_bytes=whole("output_bytes") or 0,
        truncated=is_cut or facts.get("truncated") is True,
        duration=float(duration) if isinstance(duration, int | float) else 0.0,
        exceeded=exceeded if isinstance(exceeded, str) and exceeded in ("processes", "memory") else None,
        ended=whole("ended") or 0,
        left=whole("left") or 0,
    )
