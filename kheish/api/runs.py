"""Runs by HTTP: list, show, follow, cancel (one or several), retry; and the answer to a submission."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

from falcon.asgi import Request, Response
from pydantic import model_validator

from kheish.api import at_revision, submissions, views
from kheish.api.assets import seeing
from kheish.api.http import media, paging, sse
from kheish.api.http.bodies import Because, Body, Key, Name, Reason
from kheish.api.http.operation import bind, get, post
from kheish.api.services import Services
from kheish.api.views import Doc
from kheish.domain import intake, keys, runs
from kheish.domain.agents import ending
from kheish.domain.runs import CancelledRunView, Run, RunView
from kheish.errors import RunStateConflict
from kheish.runtime import submission
from kheish.state import pins

LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", runs.Status),
    *(paging.text(name) for name in runs.NOUN.filters),
    paging.PREFIX,
)


class Retry(Body):
    """A request to retry a run."""

    idempotency_key: Key | None = None
    """The same key retries once. It may also be sent as the header Idempotency-Key."""


class CancelRuns(Body):
    """A selection of unfinished runs to cancel; all given filters must match."""

    session: Name | None = None
    """Runs of this session."""
    session_id: Name | None = None
    """The same as `session`."""
    status: Literal["queued", "running", "waiting_for_approval", "waiting_for_question", "waiting_for_agent"] | None = (
        None
    )
    """Runs with this status."""
    route: Name | None = None
    """Runs on this route."""
    kind: Name | None = None
    """Runs of this kind."""
    all: bool = False
    """Every unfinished run; required without another filter."""
    reason: Reason | None = None
    """The reason, for the journal."""

    @model_validator(mode="after")
    def _something(self) -> CancelRuns:
        if not self.all and not any((self.session, self.session_id, self.status, self.route, self.kind)):
            raise ValueError("select runs by session, status, route or kind; or all: true")
        if self.session and self.session_id and self.session != self.session_id:
            raise ValueError("session and session_id differ; send one of them")
        return self


class Runs:
    """The resource of `/v1/runs` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state
        self._feed = services.feed

    async def list_runs(self, req: Request, resp: Response) -> None:
        """Answer with a page of runs, newest first."""
        media.send(resp, await views.listed(self._state, Run, req.context.query))

    async def get_run(self, req: Request, resp: Response, run_id: str) -> None:
        """Answer with one run; with `?wait=`, after it has ended or waits; with `?at=`, as of a commit."""
        if rev := req.context.query.get("at"):
            return media.send(resp, await at_revision.document(self._services, resp, Run, run_id, rev))
        if wait := req.context.query.get("wait"):
            await submissions.settled(self._services, run_id, wait)
            sse.check_lasts(self._services, req)
        return media.send(resp, await views.document(self._state, Run, run_id))

    async def run_events(self, req: Request, resp: Response, run_id: str) -> None:
        """Stream the run's events."""
        await views.document(self._state, Run, run_id)
        sse.answer(req, resp, self._services, self._feed, run=run_id)

    async def cancel_run(self, req: Request, resp: Response, run_id: str) -> None:
        """Stop a run for good, with the agents that it spawned; a cancelled run remains unchanged."""
        body = await media.read(req, Because)
        async with pins.thing(self._state, Run, run_id) as ended:
            if ended is not None:
                _refuse_ended(ended)
                doc = (await views.expand(self._state, [ended]))[0]
                return media.send(resp, {**doc, "stopped": ending.Stopped().shown()})
            before = self._state.n
            stopped = ending.stop_run(self._state, run_id, by=req.context.principal, reason=body.reason)
            doc, n = views.of(self._state, self._state.get(Run, run_id)), self._state.n
        await self._state.durable()
        doc = (await views.expand(self._state, [doc]))[0]
        return media.send(resp, {**doc, "stopped": stopped.shown()}, n=n if n != before else None)

    async def cancel_runs(self, req: Request, resp: Response) -> None:
        """Cancel every unfinished run that matches, and answer with the stopped runs."""
        body = await media.read(req, CancelRuns)
        done: list[Doc] = []
        for run_id in await self._unfinished(body):
            async with pins.thing(self._state, Run, run_id) as ended:
                if ended is not None:
                    continue  # it ended during the await
                with contextlib.suppress(RunStateConflict):
                    ending.stop_run(self._state, run_id, by=req.context.principal, reason=body.reason)
                    done.append(views.of(self._state, self._state.get(Run, run_id)))
        n = self._state.n
        await self._state.durable()
        media.send(resp, media.page(await views.expand(self._state, done)), n=n if done else None)

    async def _unfinished(self, body: CancelRuns) -> list[str]:
        await self._state.caught_up()
        statuses = (body.status,) if body.status else tuple(str(status) for status in runs.LIVE)
        fields = {name: value for name in ("route", "kind") if (value := getattr(body, name))}
        run_ids: list[str] = []
        cursor: str | None = None
        while True:
            page = await asyncio.to_thread(
                self._state.index.things,
                "run",
                limit=paging.MOST,
                cursor=cursor,
                session=body.session or body.session_id,
                statuses=statuses,
                fields=fields,
            )
            run_ids += [doc["run_id"] for doc in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return run_ids

    async def retry_run(self, req: Request, resp: Response, run_id: str) -> None:
        """Queue a new run with the task of an ended run (202)."""
        body = await media.read(req, Retry)
        request = media.idempotency(req, body, f"runs/{run_id}/retry")
        old = await views.document(self._state, Run, run_id)
        async with self._state.using(old["session_id"]):
            key = await keys.known(self._state, request)
            given = intake.again(self._state, old, by=req.context.principal, key=key)
            if keys.earlier(self._state, key) is None:
                await seeing.check(self._state, req.context.caller, given.items)
            run = await submission.submit(self._state, given)
        await submissions.accepted(self._services, req, resp, run)


def _refuse_ended(doc: Doc) -> None:
    if doc["status"] != runs.Status.CANCELLED:
        raise RunStateConflict(
            f"The run {doc['run_id']} is {doc['status']}; it can no longer be cancelled.",
            from_status=doc["status"],
            to_status="cancelled",
        )


ONE = "/v1/runs/{run_id}"
OPERATIONS = bind(
    Runs,
    get("/v1/runs", Runs.list_runs, "List runs, newest first.", RunView, *LIST, page=True, tie="query"),
    get(
        ONE,
        Runs.get_run,
        "Get one run, now or as of a commit.",
        RunView,
        *submissions.WAIT,
        at_revision.AT,
        problems=(404,),
        tie=Run,
    ),
    get(
        f"{ONE}/events",
        Runs.run_events,
        "Stream the run's events.",
        None,
        *sse.PARAMS,
        media="text/event-stream",
        problems=(404,),
        tie=Run,
    ),
    post(
        f"{ONE}/cancel",
        Runs.cancel_run,
        "Stop a run for good, with the agents that it spawned.",
        Because,
        CancelledRunView,
        problems=(404, 409),
        tie=Run,
    ),
    post(
        f"{ONE}/retry",
        Runs.retry_run,
        "Queue a new run with the same task.",
        Retry,
        RunView,
        *submissions.WAIT,
        good=(202,),
        problems=(404, 409),
        key=True,
        tie=Run,
    ),
    post(
        "/v1/runs/cancel",
        Runs.cancel_runs,
        "Cancel every unfinished run that matches.",
        CancelRuns,
        RunView,
        page=True,
    ),
)
