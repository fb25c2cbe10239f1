"""The examination of a worker, for `kheish workers test` and `doctor`: each check has a verdict and what to do."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kheish import resources
from kheish.domain.workers.definition import WorkerFile
from kheish.errors import KheishError
from kheish.runtime.workers.connection import Connection

Verdict = Literal["ok", "warning", "error"]
_SECONDS = 30.0
_CONNECTED = 45.0  # seconds; the handshake has 30, and may be under way
#: seconds of clock skew, and free bytes, below which a worker is fine
_SKEW, _SPACE = 5.0, 5 * 1024**3
_SAMPLE = 1024 * 1024
_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a worker."""

    name: str
    verdict: Verdict
    detail: str


async def connect(link: Connection) -> Mapping[str, Any]:
    """Connect, and return what the worker reports about itself. Raises KheishError, TimeoutError."""
    await link.tried(_CONNECTED)
    return await link.ask("about", {}, within=_SECONDS)


async def examine(link: Connection, file: WorkerFile) -> list[Check]:
    """Return all checks of a worker."""
    began = time.monotonic()
    try:
        await link.tried(_CONNECTED)
        sent = time.time()
        about = await connect(link)
    except (KheishError, TimeoutError) as error:
        why = link.health.reason or (error.detail if isinstance(error, KheishError) else "no answer within 30 s")
        return [Check("connection", "error", why)]
    took = time.monotonic() - began
    checks = [Check("connection", "ok", f"{file.carrier} {file.address}, answered within {took * 1000:.0f} ms")]
    checks += _about(about, file, (sent + time.time()) / 2)
    checks.append(await _throughput(link))
    return checks


def _about(about: Mapping[str, Any], file: WorkerFile, now: float) -> Iterator[Check]:
    theirs, ours = str(about.get("kheish")), resources.version()
    if theirs == ours:
        yield Check("version", "ok", f"kheish {theirs}")
    else:
        yield Check("version", "warning", f"kheish {theirs} there, {ours} here: kheish workers install")
    if about.get("sandbox") is True:
        yield Check("sandbox", "ok", "commands run confined")
    else:
        verdict: Verdict = "error" if file.sandbox == "required" else "warning"
        yield Check("sandbox", verdict, str(about.get("sandbox_why") or "bubblewrap does not work there"))
    skew = float(about.get("time") or 0) - now
    yield Check("clock", "ok" if abs(skew) < _SKEW else "warning", f"{skew:+.1f} s against this machine")
    git = about.get("git")
    needs_git: Verdict = "error" if file.workspace == "git" else "warning"
    yield Check("git", "ok" if git else needs_git, str(git or "git is not installed there"))
    free = int(about.get("free_bytes") or 0)
    yield Check(
        "space", "ok" if free > _SPACE else "warning", f"{free / 1024**3:.1f} GiB free in {about.get('folder')}"
    )


async def _throughput(link: Connection) -> Check:
    data, began = b64encode(bytes(_SAMPLE)).decode(), time.monotonic()
    try:
        for _ in range(_SAMPLES):
            await link.call("weigh", {"bytes": data}, within=_SECONDS)
    except (KheishError, TimeoutError) as error:
        return Check("throughput", "error", str(error))
    rate = _SAMPLES * _SAMPLE / (time.monotonic() - began) / 1e6
    return Check("throughput", "ok" if rate > 1 else "warning", f"{rate:.0f} MB/s to the worker")
