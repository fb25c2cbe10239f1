"""`kheish worker --stdio`: frames on standard input and output, until the input ends."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from kheish.errors import WorkerProtocolError
from kheish.runtime.workers import frames
from kheish.runtime.workers.far.serving import Far

#: seconds without a sign of life of the daemon after which its connection counts as dead
_SILENCE = 120.0
_BUFFER = 1024 * 1024


def main() -> None:
    """Serve the daemon at the other end. Returns when its stream ends."""
    asyncio.run(serve(*_descriptors(), root()))


def root() -> Path:
    """Return the worker's folder, with the jobs of each daemon."""
    given = os.environ.get("XDG_STATE_HOME")
    return (Path(given) if given else Path.home() / ".local" / "state") / "kheish" / "worker"


def _descriptors() -> tuple[int, int]:
    """Return descriptors for frames. What any code prints goes to standard error instead."""
    taken = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return taken


async def serve(readable: int, writable: int, place: Path) -> None:
    """Serve one daemon over two descriptors. Raises nothing when it goes away."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_BUFFER)
    source, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(readable, "rb", 0))
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(writable, "wb", 0)
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    far = Far(send, place)
    try:
        await far.greet()
        while True:
            async with asyncio.timeout(_SILENCE):
                frame = await frames.read(reader)
            await far.take(frame)
    except (EOFError, ConnectionError, TimeoutError):
        return
    except WorkerProtocolError as error:
        print(f"kheish worker: {error.detail}", file=sys.stderr)  # noqa: T201 - ssh shows it to the daemon
    finally:
        await far.close()
        source.close()
        writer.close()
