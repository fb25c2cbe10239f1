"""A command that gets the body on its standard input: unconfined, under the daemon's own runner, after `kheish trust`.

Exit status 0: delivered; 65: refused for good; anything else: it is tried again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from kheish.jobs import served
from kheish.jobs.served import ServedSpec
from kheish.runtime.outputs.base import Job, Passing, Refused, Sent, Unclear, Way

#: `EX_DATAERR` of sysexits.h
_REFUSES = 65
_MOST_BYTES = 256 * 1024
_SHOWN = 300
_PATH = "/usr/local/bin:/usr/bin:/bin"


async def send(job: Job, way: Way) -> Sent:
    """Run the command. Raises NotDelivered."""
    spec = ServedSpec(argv=_words(job), env=_environment(job, way), cwd=str(way.workspace.path), limits=way.limits)
    try:
        process = await served.start(spec)
    except OSError as error:
        raise Passing(f"it could not be started: {error}") from error
    try:
        async with asyncio.timeout(way.seconds):
            stdout, code = await served.talk(process, job.body + b"\n", _MOST_BYTES)
        said = f"{process.describe_end()}{_shorten(await process.last_errors(served.ERRORS))}"
    except TimeoutError as error:
        raise Unclear(f"it took longer than {way.seconds:g} s, and was ended") from error
    except OverflowError as error:
        raise Unclear(str(error)) from error
    finally:
        await process.close()
    if code == _REFUSES:
        raise Refused(said)
    if code != 0:
        raise Passing(said)
    return Sent(receipt=stdout.decode("utf-8", "replace").partition("\n")[0].strip()[:_SHOWN] or None)


def _words(job: Job) -> tuple[str, ...]:
    command = job.sink.command
    assert command is not None
    return ("sh", "-c", command) if isinstance(command, str) else tuple(command)


def _environment(job: Job, way: Way) -> dict[str, str]:
    return {
        "PATH": way.environ.get("PATH") or _PATH,
        "HOME": str(Path.home()),
        "LANG": "C.UTF-8",
        "PWD": str(way.workspace.path),
        "KHEISH_DELIVERY_ID": job.delivery_id,
        "KHEISH_ATTEMPT": str(job.attempt),
        "KHEISH_SESSION_ID": str(job.output["session_id"] or ""),
        "KHEISH_WORKSPACE": str(way.workspace.path),
    }


def _shorten(text: str) -> str:
    words = " ".join(text.split())[:_SHOWN]
    return f": {words}" if words else ""
