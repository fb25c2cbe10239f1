"""The state, the output and the end of a job, read from its folder. Everything here blocks on disk."""

from __future__ import annotations

from pathlib import Path

from kheish.errors import NotFound
from kheish.jobs import folder, following
from kheish.jobs.output import Reader, written
from kheish.jobs.values import JobEnd, JobSpec, JobState

#: reads of the output in one step, so that a torrent of output does not occupy a thread
_READS_PER_LOOK = 16


def state(path: str) -> JobState:
    """Return the present state of the job."""
    claim = folder.read(path, folder.CLAIM)
    if claim is None:
        there = Path(path, folder.SPEC).exists()
        return JobState.UNCLAIMED if there else JobState.MISSING
    if claim.get("by") == "daemon":
        return JobState.WITHDRAWN
    # In this order: a runner that ends in between has written its end before.
    lives = folder.lives(claim)
    if folder.read(path, folder.END):  # a damaged one has no reason
        return JobState.ENDED
    return JobState.RUNNING if lives else JobState.GONE


def look(path: str, reader: Reader) -> tuple[JobState, list[tuple[int, bytes]]]:
    """Return the state, and the output since the last call. An end is reported only once no more output follows."""
    now = state(path)
    parts: list[tuple[int, bytes]] = []
    for _ in range(_READS_PER_LOOK):
        _, data = reader.read()
        if not data:
            break
        parts.append((reader.position - len(data), data))
    return now, parts


def output(path: str, job_id: str, start: int | None, most: int) -> tuple[int, bytes, int]:
    spec = folder.read(path, folder.SPEC)
    if spec is None:
        raise NotFound(f"There is no job {job_id!r}.")
    total = written(path, limit(spec))
    reader = Reader(path, limit(spec))
    reader.position = max(0, total - most) if start is None else start
    begin, content = reader.position, bytearray()
    while len(content) < most:
        skipped, data = reader.read()
        if skipped and content:
            break
        begin += skipped
        if not data:
            break
        content += data
    return begin, bytes(content[:most]), max(total, begin + len(content))


def end(path: str, state: JobState, limit: int) -> JobEnd | None:
    if state is JobState.MISSING:
        raise NotFound("The job was removed while it was waited for.")
    if state is JobState.WITHDRAWN:
        return JobEnd(None, None, False, True, "", 0, False, 0.0)
    record = folder.read(path, folder.END)
    if not record:
        return None
    reader = Reader(path, limit)
    pieces: list[str] = []
    kept = bytearray()
    cut = False
    while True:
        skipped, data = reader.read()
        if skipped:
            cut = True
            pieces += kept.decode(errors="replace"), following.cut(skipped)
            kept.clear()
        if not data:
            break
        kept += data
    pieces.append(kept.decode(errors="replace"))
    if failure := record["output_failure"]:
        pieces.append(f"\n[the rest of the output could not be kept: {failure}]\n")
    return JobEnd(
        exit_status=_whole(record["exit_status"]),
        signal=_whole(record["signal"]),
        timed_out=bool(record["timed_out"]),
        stopped=bool(record["stopped"]),
        output="".join(pieces),
        output_bytes=_whole(record["output_bytes"]) or 0,
        truncated=cut or bool(failure),
        duration=float(str(record["duration"])),
        exceeded=None if record.get("exceeded") is None else str(record["exceeded"]),
        ended=_whole(record.get("ended")) or 0,
        left=_whole(record.get("left")) or 0,
    )


def limit(spec: dict[str, object]) -> int:
    return _whole(spec.get("output_limit")) or JobSpec.output_limit


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
