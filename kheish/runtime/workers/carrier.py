"""Carriers: ways to a worker. A carrier opens a stream of bytes to a `kheish worker`; frames are not its business."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kheish.errors import WorkerUnreachable
from kheish.runtime.workers.frames import Reader

_ERRORS = 4096  # bytes of standard error that are kept
_PATIENCE = 3.0  # seconds that a closed process has before it is killed
#: variables that a carrier's process gets; no other leaves the daemon
_ENVIRONMENT = ("HOME", "PATH", "USER", "LOGNAME", "LANG", "SSH_AUTH_SOCK", "LD_LIBRARY_PATH", "TMPDIR")


class Writer(Protocol):
    """The writable half of a stream; `asyncio.StreamWriter` has it."""

    def write(self, data: bytes) -> None:
        """Write, without waiting."""
        ...

    async def drain(self) -> None:
        """Wait until the other side has taken most of it. Raises ConnectionError."""
        ...


class Stream(Protocol):
    """An open stream to a worker."""

    @property
    def reader(self) -> Reader:
        """The readable half."""
        ...

    @property
    def writer(self) -> Writer:
        """The writable half."""
        ...

    def explain(self) -> str:
        """Return what the carrier itself reported, for users; empty if nothing."""
        ...

    async def close(self) -> None:
        """Close the stream. The jobs of the worker continue."""
        ...


class Carrier(Protocol):
    """A way to one worker."""

    @property
    def kind(self) -> str:
        """`ssh`, `ray` or `process`."""
        ...

    async def open(self) -> Stream:
        """Open a stream. Raises WorkerUnreachable, OSError."""
        ...


@dataclass(slots=True)
class Piped:
    """A stream over the standard input and output of a process."""

    process: asyncio.subprocess.Process
    _errors: bytearray = field(default_factory=bytearray)
    _reading: asyncio.Task[None] | None = None

    @property
    def reader(self) -> Reader:
        """The standard output of the process."""
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def writer(self) -> Writer:
        """The standard input of the process."""
        assert self.process.stdin is not None
        return self.process.stdin

    def explain(self) -> str:
        """Return the end of its standard error."""
        return self._errors.decode("utf-8", "replace").strip()

    async def close(self) -> None:
        """Close its input, wait a moment for its end, and kill it otherwise."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        if self._reading is not None:
            await self._reading

    async def read_errors(self) -> None:
        """Keep the end of standard error, so that the process never blocks on it."""
        assert self.process.stderr is not None
        while chunk := await self.process.stderr.read(_ERRORS):
            self._errors[:] = (self._errors + chunk)[-_ERRORS:]


async def start(argv: Sequence[str], more: Mapping[str, str] | None = None) -> Piped:
    """Start a process and return the stream over it. Its environment holds no token and no key. Raises
    WorkerUnreachable."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | dict(more or {})
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            limit=1024 * 1024,
            start_new_session=True,  # a Ctrl-C at the daemon's terminal is not for it
        )
    except OSError as error:
        raise WorkerUnreachable(f"{argv[0]} cannot be started: {error.strerror or error}.") from error
    piped = Piped(process)
    piped._reading = asyncio.create_task(piped.read_errors())
    return piped


@dataclass(frozen=True, slots=True)
class Process:
    """A worker on this machine, as a child process: for tests, and to try a worker without a network."""

    environment: Mapping[str, str] = field(default_factory=dict)
    kind: str = "process"

    async def open(self) -> Stream:
        """Start `kheish worker --stdio`."""
        return await start([sys.executable, "-m", "kheish.cli.main", "worker", "--stdio"], self.environment)
