"""Server processes: programs that talk to the daemon over their standard input and output, and end with it.

A job outlives the daemon; a server does not. Its runner (`served_child.py`) holds one end of a pipe, the lifeline, and
ends the server with all of its descendants when the daemon closes it, or is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kheish.jobs.served_child import EXCEEDED, GIVE_UP, GRACE, NOT_STARTED
from kheish.jobs.values import Limits

#: bytes of standard error that are kept
ERRORS = 64 * 1024
_CHUNK = 1 << 16
#: bytes of standard error in a second; a server that writes more is slowed down
_RATE = 8 * 1024 * 1024
#: seconds for what an ended server has written
_LAST = 0.5
_PACKAGE_ROOT = str(Path(__file__).parents[2])
_RUNNER = (
    "import sys; sys.path.append(sys.argv[1]); from kheish.jobs import served_child; "
    "sys.exit(served_child.main(int(sys.argv[2])))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedSpec:
    """The command of a server: its words, its whole environment and its folder. `errors` takes its standard error as it
    comes, which may hold secrets."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: str
    limits: Limits = field(default_factory=Limits)
    errors: Callable[[bytes], Awaitable[None]] | None = None


@dataclass(slots=True)
class Served:
    """A started server. `reader` and `writer` are connected to its standard output and input."""

    process: asyncio.subprocess.Process
    lifeline: int
    _errors: bytearray
    _reading: asyncio.Task[None]

    @property
    def reader(self) -> asyncio.StreamReader:
        """The standard output of the server."""
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def writer(self) -> asyncio.StreamWriter:
        """The standard input of the server."""
        assert self.process.stdin is not None
        return self.process.stdin

    async def close(self) -> int:
        """End the server and all of its descendants, and return its exit status."""
        if self.lifeline >= 0:
            self.writer.close()  # a server that ends by itself at the end of its input does so now
            os.close(self.lifeline)
            self.lifeline = -1
        try:
            async with asyncio.timeout(GRACE + GIVE_UP + 2.0):
                return await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()  # its server dies with it
            return await self.process.wait()
        finally:
            await asyncio.wait({self._reading}, timeout=_LAST)
            self._reading.cancel()

    def describe_end(self) -> str:
        """Return why the server ended, in a few words; it has ended."""
        match self.process.returncode:
            case None:
                return "it closed its output"
            case code if code == NOT_STARTED:
                return "it could not be started"
            case code if code == EXCEEDED:
                return "it exceeded its limit of processes or memory"
            case code if code > 128:
                return f"it was ended by signal {code - 128}"
            case code:
                return f"it ended with exit status {code}"

    async def last_errors(self, most: int = 2000) -> str:
        """Return the end of its standard error; of a server that has ended, all that it has written counts."""
        if self.process.returncode is not None:
            await asyncio.wait({self._reading}, timeout=_LAST)
        return self._errors[-most:].decode("utf-8", "replace")


async def talk(served: Served, data: bytes, most: int) -> tuple[bytes, int]:
    """Pass on the whole input, and return the whole output and the exit status. Raises OverflowError for an output of
    more than `most` bytes."""
    feeding = asyncio.create_task(_feed(served, data))
    try:
        output = bytearray()
        while chunk := await served.reader.read(_CHUNK):
            output += chunk
            if len(output) > most:
                raise OverflowError(f"it wrote more than {most} bytes, and was ended")
        return bytes(output), await served.process.wait()
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _feed(served: Served, data: bytes) -> None:
    """Write the input; a command that does not read it is none the worse."""
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        served.writer.write(data)
        await served.writer.drain()
        served.writer.close()


async def start(spec: ServedSpec) -> Served:
    """Start a server. Raises OSError if the runner cannot be started."""
    readable, lifeline = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _RUNNER, _PACKAGE_ROOT, str(readable)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            pass_fds=(readable,),
            start_new_session=True,
        )
    except OSError:
        os.close(lifeline)
        raise
    finally:
        os.close(readable)
    content = {
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "cwd": spec.cwd,
        "limits": asdict(spec.limits),
    }
    # A specification may be larger than the pipe holds; the runner reads while this writes.
    await asyncio.to_thread(_write, lifeline, json.dumps(content).encode() + b"\n")
    errors, stream = bytearray(), process.stderr
    assert stream is not None
    reading = asyncio.get_running_loop().create_task(_read_errors(stream, errors, spec.errors))
    return Served(process, lifeline, errors, reading)


async def _read_errors(
    stream: asyncio.StreamReader, kept: bytearray, take: Callable[[bytes], Awaitable[None]] | None
) -> None:
    """Keep the end of standard error, and pass all of it on."""
    while data := await stream.read(_CHUNK):
        kept += data
        del kept[:-ERRORS]
        if take is not None:
            await take(data)
        await asyncio.sleep(len(data) / _RATE)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(BrokenPipeError):  # the runner died: its end is seen by its output
        while view:
            view = view[os.write(descriptor, view) :]
