"""Workers by HTTP: their files with the state of their connection, a test, and an examination."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import definitions
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, post
from kheish.api.services import Services
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import frozen
from kheish.domain.workers import placement
from kheish.domain.workers.definition import WorkerFile
from kheish.errors import KheishError, NotFound
from kheish.runtime.workers import examining
from kheish.runtime.workers.connection import Connection, Health

KIND = KINDS["workers"]
_UNUSED = Health()


@frozen
class WorkerDetailsView(DefinitionView):
    """A worker: the fields of its file, and the following."""

    of_now = True

    state: Literal["unused", "connecting", "connected", "lost", "closed", "disabled"]
    """unused: nothing has needed it since the daemon started; lost: it is tried again and again."""
    last_error: str | None
    """The reason why it is not connected."""
    version: str | None
    """The version of Kheish there."""
    boot_id: str | None
    """It changes when the machine starts."""
    jobs: int
    """The calls that are open there now."""
    since: str | None
    """The beginning of its state."""
    last_seen: str | None
    """The last sign of life."""
    clock_skew_ms: int | None
    """Its clock, against this machine's, when it was connected."""
    sessions: int
    """The sessions that work there and have not ended; 1000 stands for more."""
    reconnects: int
    """The connections that were lost since the daemon started."""


class WorkerFiles(Definitions):
    """The files, each with the state of its connection."""

    added = (
        "state", "last_error", "version", "boot_id", "jobs", "since", "last_seen", "clock_skew_ms", "sessions",
        "reconnects",
    )  # fmt: skip

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        health = self._services.workers.health() if self._services.workers is not None else {}
        used = [await placement.in_use(self._state, one.id) for one in found]
        return [self._of(one, health.get(one.id, _UNUSED), many) for one, many in zip(found, used, strict=True)]

    def _of(self, one: Definition, health: Health, sessions: int) -> dict[str, Any]:
        hello = health.hello
        return {
            "state": "disabled" if one.value.disabled else health.status,
            "last_error": health.reason or None,
            "version": str(hello.capabilities.get("kheish", "")) or None if hello is not None else None,
            "boot_id": hello.boot_id if hello is not None else None,
            "jobs": self._services.workers.open_calls(one.id) if self._services.workers is not None else 0,
            "since": ids.stamp(health.since) if health.since else None,
            "last_seen": ids.stamp(health.heard) if health.heard else None,
            "clock_skew_ms": round(health.skew * 1000) if health.skew is not None else None,
            "sessions": sessions,
            "reconnects": health.reconnects,
        }


class TestWorker(Body):
    """A request to try a worker; it has no fields."""


class WorkerTrial(Answer):
    """The outcome of a test."""

    worker: str
    ok: bool
    error: str | None
    """The reason why it cannot be used."""
    version: str | None
    boot_id: str | None
    duration_ms: int


class WorkerCheck(Answer):
    """A check of a worker."""

    name: str
    verdict: Literal["ok", "warning", "error"]
    detail: str


class WorkerExamination(Answer):
    """The checks of a worker: connection, version, sandbox, clock, git, space, throughput."""

    worker: str
    ok: bool
    """Whether no check found an error."""
    checks: list[WorkerCheck]


class Workers:
    """The resource of the paths below `/v1/workers/{id}` that other Definitions do not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def test_worker(self, req: Request, resp: Response, id: str) -> None:
        """Connect to a worker, and answer whether it responds."""
        await media.read(req, TestWorker)
        link, _ = self._found(id)
        began, error = time.monotonic(), None
        about: dict[str, Any] = {}
        try:
            about = dict(await examining.connect(link))
        except (KheishError, TimeoutError) as failed:
            error = link.health.reason or (failed.detail if isinstance(failed, KheishError) else "no answer in time")
        hello = link.health.hello
        media.send(resp, {
            "worker": id, "ok": error is None, "error": error, "version": about.get("kheish"),
            "boot_id": hello.boot_id if hello is not None else None,
            "duration_ms": round((time.monotonic() - began) * 1000),
        })  # fmt: skip

    async def examine_worker(self, req: Request, resp: Response, id: str) -> None:
        """Examine a worker: connection, version, sandbox, clock, git, space, throughput."""
        await media.read(req, TestWorker)
        checks = await examining.examine(*self._found(id))
        media.send(resp, {
            "worker": id,
            "ok": all(one.verdict != "error" for one in checks),
            "checks": [{"name": one.name, "verdict": one.verdict, "detail": one.detail} for one in checks],
        })  # fmt: skip

    def _found(self, id: str) -> tuple[Connection, WorkerFile]:
        found = self._state.definitions.get(KIND.name, ids.check_slug(id, "id"))
        if self._services.workers is None:
            raise NotFound("This daemon has no workers.")
        return self._services.workers.link(id), found.value


ONE = "/v1/workers/{id}"
OPERATIONS = (
    *definitions.operations(KIND, WorkerFiles, WorkerDetailsView),
    *bind(
        Workers,
        post(f"{ONE}/test", Workers.test_worker, "Connect to a worker.", TestWorker, WorkerTrial,
             problems=(404, 503)),
        post(f"{ONE}/doctor", Workers.examine_worker, "Examine a worker.", TestWorker, WorkerExamination,
             problems=(404, 503)),
    ),
)  # fmt: skip
