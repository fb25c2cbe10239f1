"""Runs by HTTP: list, show, follow, cancel (one or many), retry; and how a submission is answered."""

from __future__ import annotations

import asyncio
import contextlib

from falcon.asgi import Request, Response

from kheish.api import at_revision, models, views
from kheish.api.http import media, paging, sse
from kheish.api.http.feed import Feed
from kheish.api.http.waiting import Waits
from kheish.api.services import Services
from kheish.api.views import Doc
from kheish.domain import intake, runs
from kheish.domain.keys import KeyUse, key_id
from kheish.domain.runs import Run
from kheish.errors import RunStateConflict
from kheish.runtime import submission

FIELDS = ("kind", "route", "agent_id", "retry_of")
LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", runs.Status),
    *(paging.text(name) for name in FIELDS),
    paging.PREFIX,
)


class Runs:
    """`/v1/runs` and what is below."""

    def __init__(self, parts: Services, feed: Feed, waits: Waits) -> None:
        self._parts = parts
        self._state = parts.state
        self._feed = feed
        self._waits = waits

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of runs, newest first."""
        media.send(resp, await views.listed(self._state, Run, req.context.query, FIELDS))

    async def on_get_one(self, req: Request, resp: Response, run_id: str) -> None:
        """One run; with `?wait=`, once it has ended or waits; with `?at=`, as it was."""
        if rev := req.context.query.get("at"):
            return media.send(resp, await at_revision.document(self._parts, resp, Run, run_id, rev))
        if wait := req.context.query.get("wait"):
            await self._waits.settled(run_id, wait)
            sse.check_lasts(self._parts, req)
        return media.send(resp, await views.document(self._state, Run, run_id))

    async def on_get_events(self, req: Request, resp: Response, run_id: str) -> None:
        """The run's events as a stream."""
        await views.document(self._state, Run, run_id)
        sse.answer(req, resp, self._parts, self._feed, run=run_id)

    async def on_post_cancel(self, req: Request, resp: Response, run_id: str) -> None:
        """Stop a run for good; one that is cancelled stays as it is."""
        body = await media.read(req, models.Because)
        ended = await self._state.load_for(Run, run_id)
        if ended is not None:
            _refuse_ended(ended)
            return media.send(resp, (await views.expand(self._state, [ended]))[0])
        before = self._state.get(Run, run_id).n
        run = runs.cancel(self._state, run_id, by=req.context.principal, reason=body.reason)
        doc, n = views.of(self._state, run), run.n
        await self._state.durable()
        return media.send(resp, (await views.expand(self._state, [doc]))[0], n=n if n != before else None)

    async def on_post_cancel_many(self, req: Request, resp: Response) -> None:
        """Cancel every unfinished run that fits; answers with those that were stopped."""
        body = await media.read(req, models.CancelRuns)
        done: list[Doc] = []
        for run_id in await self._unfinished(body):
            if await self._state.load_for(Run, run_id) is not None:
                continue  # it ended meanwhile
            with contextlib.suppress(RunStateConflict):
                run = runs.cancel(self._state, run_id, by=req.context.principal, reason=body.reason)
                done.append(views.of(self._state, run))
        n = self._state.n
        await self._state.durable()
        media.send(resp, media.page(await views.expand(self._state, done)), n=n if done else None)

    async def _unfinished(self, body: models.CancelRuns) -> list[str]:
        await self._state.caught_up()
        statuses = (body.status,) if body.status else tuple(str(status) for status in runs.LIVE)
        fields = {name: value for name in ("route", "kind") if (value := getattr(body, name))}
        found: list[str] = []
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
            found += [doc["run_id"] for doc in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def on_post_retry(self, req: Request, resp: Response, run_id: str) -> None:
        """Queue a new run with the task of one that has ended (202)."""
        body = await media.read(req, models.Retry)
        key = media.idempotency(req, body, f"runs/{run_id}/retry")
        old = await views.document(self._state, Run, run_id)
        if key is not None:
            await self._state.recall(KeyUse, key_id(key.scope, key.key))
        await self._state.load(old["session_id"])
        given = intake.again(self._state, old, by=req.context.principal, idempotency=key)
        await accepted(self._parts, self._waits, req, resp, await submission.submit(self._state, given))


async def accepted(parts: Services, waits: Waits, req: Request, resp: Response, run: Run | str) -> None:
    """Answer a submission (202): at once, or with `?wait=` when the run has ended, waits, or the time is over.

    `run` is an id where the same idempotency key made it before, and it ended long ago.
    """
    state = parts.state
    run_id = run if isinstance(run, str) else run.run_id
    doc = None if isinstance(run, str) else views.of(state, run)
    await state.durable()
    if wait := req.context.query.get("wait"):
        await waits.settled(run_id, wait)
        sse.check_lasts(parts, req)
        doc = None
    if doc is None:
        doc = await views.document(state, Run, run_id)
    else:
        doc = (await views.expand(state, [doc]))[0]
    resp.set_header("Location", f"/v1/runs/{run_id}")
    media.send(resp, doc, status=202, n=doc["n"] if isinstance(run, str) else run.made)


def _refuse_ended(doc: Doc) -> None:
    if doc["status"] != runs.Status.CANCELLED:
        raise RunStateConflict(
            f"The run {doc['run_id']} is {doc['status']}; it cannot be cancelled any more.",
            from_status=doc["status"],
            to_status="cancelled",
        )
