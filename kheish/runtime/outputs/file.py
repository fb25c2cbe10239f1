"""A file below the session's workspace that grows by each output: a line of JSON in `.jsonl` files, else its text.

Lines of JSON have the delivery's id, by which a delivery whose end is unknown is found again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posixpath
import stat
from dataclasses import dataclass

import orjson

from kheish.beneath import Door, kernel, pool, walk
from kheish.beneath.walk import Intent
from kheish.domain.outputs import places
from kheish.domain.outputs.definition import OutputFile
from kheish.domain.permissions import decide
from kheish.domain.permissions.rules import SandboxFacts, Scopes, ToolCall
from kheish.errors import NotBeneath, WorkspaceSlow
from kheish.runtime.outputs.base import Job, Passing, Refused, Sent, Unclear, Way

_LINES = (".jsonl", ".ndjson")
#: bytes at the end of a file in which a delivery is searched
_TAIL = 1 << 20
#: errors of a file that another process holds by a lock or a lease
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The path of a delivery, and what restricts it."""

    sink: OutputFile
    path: str
    rules: Scopes


async def send(job: Job, way: Way) -> Sent:
    """Append the output. Raises NotDelivered."""
    path = _path(job)
    try:
        await pool.run(way.workspace, _append, _Wanted(job.sink, path, way.rules), way.workspace, _row(job, path))
    except WorkspaceSlow as error:
        raise Unclear(error.detail) from error
    except NotBeneath as error:
        raise Refused(error.detail) from error
    return Sent(receipt=path)


async def find(job: Job, way: Way) -> Sent | None:
    """Return the delivery if the end of the file has it; None for a file of texts. Raises NotDelivered."""
    path = _path(job)
    if not path.endswith(_LINES):
        return None
    try:
        tail = await pool.run(way.workspace, _read_tail, way.workspace, path)
    except WorkspaceSlow as error:
        raise Passing(error.detail) from error
    except NotBeneath:
        return None
    return Sent(receipt=path) if f'"delivery_id":"{job.delivery_id}"'.encode() in tail else None


def _path(job: Job) -> str:
    given = job.target.get("path")
    return str(given) if given is not None else places.own_path(job.sink)


def _row(job: Job, path: str) -> bytes:
    if path.endswith(_LINES):
        return orjson.dumps({"delivery_id": job.delivery_id, **job.output}) + b"\n"
    return job.noted.rstrip("\n").encode() + b"\n\n"


def _judged(wanted: _Wanted, door: Door) -> Door:
    """Return the door through which the path leads where it does now. Blocks on disk. Raises NotBeneath, Refused."""
    path = wanted.path
    real = walk.resolved(door, path)
    if (why := places.led_fault(wanted.sink, path, real)) is not None:
        raise Refused(f"{path}: leads to {real}, where it must not: {why}")
    if path == places.own_path(wanted.sink) and real == posixpath.normpath(path):
        return door.judging({path: real})  # an admin wrote it
    verdict = decide.decide(
        ToolCall(tool="write_file", effect="write", arguments={"path": path}, resolved=(real,)),
        mode="default",
        scopes=wanted.rules,
        sandbox=SandboxFacts(mode="off", available=True),
        workspace=door.path,
    )
    if verdict.decision == "deny":
        raise Refused(f"{path}: {verdict.why}")
    return door.judging({path: real})


def _append(wanted: _Wanted, door: Door, row: bytes) -> None:
    """Append a row whole or not at all, durably. Blocks on disk. Raises NotBeneath, Passing, Refused."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
    path = wanted.path
    with walk.place(_judged(wanted, door), path, Intent.CREATE) as here:
        descriptor = _opened(here, flags, path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise NotBeneath(f"{path}: is not a regular file.")
            here.root.check(status, path)
            if status.st_nlink != 1:
                raise NotBeneath(f"{path}: is a hard link; the file has other names, which may be protected.")
            _lock(descriptor, path)
            size = os.fstat(descriptor).st_size
            try:
                _write(descriptor, row)
            except OSError as error:
                os.ftruncate(descriptor, size)
                if error.errno in _FULL:
                    raise Passing(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
                raise
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _opened(here: walk.Place, flags: int, path: str) -> int:
    try:
        return kernel.open_name(here.folder, here.name, flags, 0o666)
    except BlockingIOError as error:
        raise Passing(f"{path}: another process has a lease on it") from error


def _lock(descriptor: int, path: str) -> None:
    """Lock a file, at once: a lock of another process must not hold this thread. Raises Passing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Passing(f"{path}: another process has locked it") from error


def _write(descriptor: int, row: bytes) -> None:
    view = memoryview(row)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_tail(door: Door, path: str) -> bytes:
    """Return the end of a file. Blocks on disk. Raises NotBeneath."""
    from kheish.beneath import files

    with files.open_file(door, path) as (file, _):
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return file.read(_TAIL)
