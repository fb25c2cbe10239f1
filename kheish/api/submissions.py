"""Submissions by HTTP: the request, its run, and the answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field, model_validator

from kheish.api import views
from kheish.api.assets import seeing
from kheish.api.http import media, sse
from kheish.api.http.bodies import Body, Few, Key, Name, Targets
from kheish.api.http.operation import bind, post
from kheish.api.http.paging import Param
from kheish.api.replays import access as replays
from kheish.api.services import Services
from kheish.domain import intake, keys, runs, traces
from kheish.domain.debug import Level
from kheish.domain.events import Item
from kheish.domain.runs import Run, RunView
from kheish.domain.sessions.session import Session
from kheish.ids import LONGEST, MOST
from kheish.runtime import submission
from kheish.runtime.skills import starting
from kheish.store.bus import Frame

WAIT = (Param(name="wait", kind="duration", about="Wait until the run ends or waits, for at most this time (`30s`)."),)
#: the events after which a waiting caller may have to act, except for a wait for agents
STOPS = frozenset({"run.completed", "run.failed", "run.cancelled", "run.interrupted", "run.waiting"})
#: statuses in which a run needs a user
HELD = runs.WAITING - {runs.Status.WAITING_FOR_AGENT}
_FOR_AGENT = f'"status":"{runs.Status.WAITING_FOR_AGENT}"'.encode()


class Budget(Body):
    """A limit on a run (or for tokens and cost on a session); the narrowest of all limits applies."""

    turns: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """Model turns."""
    wall_time: (
        Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d|w)$")]
        | Annotated[float, Field(gt=0, le=LONGEST)]
        | None
    ) = None
    """The time that a run may act, without the time that it waits for people: `15m`, or seconds."""
    model_calls: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """Model calls."""
    tokens: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """Input and output tokens."""
    cost_usd: Annotated[float, Field(gt=0, le=MOST)] | None = None
    """US dollars; the route needs a price."""


class TextItem(Body):
    """A text part of an input."""

    type: Literal["text"]
    text: str
    """The text itself."""


class AssetItem(Body):
    """A stored file as a part of an input."""

    type: Literal["asset"]
    asset_id: Name
    """The id of the file."""


class Submission(Body):
    """A task for a run: `content`, or `items`."""

    content: str | None = None
    """The task, as one text."""
    items: (
        Annotated[list[Annotated[TextItem | AssetItem, Field(discriminator="type")]], Field(max_length=1000)] | None
    ) = None
    """The task, in parts: texts and stored files."""
    actor: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The person on whose behalf it is sent, for later readers; without it, the token's name."""
    source: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The source of the submission (`api`)."""
    metadata: dict[str, Any] | None = None
    """The caller's own data; 16 KiB at most."""
    route: Name | None = None
    """`route` or `route/model`; without it, the session's, or the daemon's default."""
    model: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """A model, instead of the route's."""
    generation: Few | None = None
    """The provider's own settings, such as temperature."""
    skills: Annotated[list[Name], Field(max_length=20)] | None = None
    """Skills that the run begins with."""
    reply_targets: Targets | None = None
    """The targets of outputs."""
    completion: Annotated[list[Annotated[str, Field(max_length=20_000)] | Few], Field(max_length=100)] | None = None
    """The conditions for completing the run: texts, `{workspace_file: path}`, `{command: line}` (or `{command: {run,
    exit, timeout}}`), `{output_matches: schema}`.
    """
    budget: Budget | None = None
    """The budget of this run."""
    debug: Level | None = None
    """The level of debug capture of this run, instead of the session's."""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same run. It may also be sent as the header Idempotency-Key."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Submission:
        if (self.content is None) == (self.items is None):
            raise ValueError("send either content or items")
        return self


class Submissions:
    """The resource of `/v1/sessions/{session_id}/runs`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def start_run(self, req: Request, resp: Response, session_id: str) -> None:
        """Queue a run (202)."""
        body = await media.read(req, Submission)
        request = media.idempotency(req, body, f"sessions/{session_id}/runs")
        async with self._state.using(session_id):
            key = await keys.known(self._state, request)
            if keys.earlier(self._state, key) is None:
                session = self._state.get(Session, session_id)
                await starting.check(self._services.skills, session, body.skills or ())
                await replays.check(self._state, req.context.caller, session, body.route, body.model)
                await seeing.check(self._state, req.context.caller, _items(body))
            parent = traces.parent(req.get_header("traceparent"))
            given = wanted(session_id, body, actor=req.context.principal, source="api", key=key, traceparent=parent)
            run = await submission.submit(self._state, given, by=req.context.principal)
        await accepted(self._services, req, resp, run)


def wanted(
    session_id: str,
    body: Submission,
    *,
    actor: str,
    source: str,
    key: keys.Key | None,
    checks_ask: bool = False,
    traceparent: str | None = None,
) -> intake.Input:
    """Return the input of a submission from any channel; `actor` and `source` apply if it names none itself."""
    return intake.Input(
        session_id=session_id,
        items=_items(body),
        actor=body.actor or actor,
        source=body.source or source,
        metadata=body.metadata or {},
        route=body.route,
        model=body.model,
        generation=body.generation or {},
        budget=body.budget.model_dump(exclude_none=True) if body.budget else None,
        reply_targets=tuple(body.reply_targets or ()),
        skills=tuple(dict.fromkeys(body.skills or ())),
        completion=tuple(body.completion or ()),
        key=key,
        checks_ask=checks_ask,
        debug=body.debug,
        traceparent=traceparent,
    )


def _items(body: Submission) -> tuple[Item, ...]:
    if body.items is None:
        return (Item(text=body.content),)
    return tuple(
        Item(type="text", text=item.text) if isinstance(item, TextItem) else Item(type="asset", asset_id=item.asset_id)
        for item in body.items
    )


async def accepted(services: Services, req: Request, resp: Response, run: Run | str) -> None:
    """Answer a submission (202): at once, or with `?wait=` when the run has ended, waits, or the time is over.

    `run` is an id if the same idempotency key created it earlier and it is no longer in memory.
    """
    state = services.state
    run_id = run if isinstance(run, str) else run.run_id
    doc = None if isinstance(run, str) else views.of(state, run)
    await state.durable()
    if wait := req.context.query.get("wait"):
        await settled(services, run_id, wait)
        sse.check_lasts(services, req)
        doc = None
    if doc is None:
        doc = await views.document(state, Run, run_id)
    else:
        doc = (await views.expand(state, [doc]))[0]
    resp.set_header("Location", f"/v1/runs/{run_id}")
    media.send(resp, doc, status=202, n=doc["n"] if isinstance(run, str) else run.made)


async def settled(services: Services, run_id: str, timeout: float) -> None:
    """Wait until the run has ended or waits for a user, `timeout` seconds have passed, or the daemon stops."""
    run = services.state.find(Run, run_id)
    if run is not None and not run.is_final and run.status not in HELD:
        await services.waits.until(("run", run_id), _stops, timeout)


def _stops(frame: Frame) -> bool:
    return frame.kind in STOPS and not (frame.kind == "run.waiting" and _FOR_AGENT in frame.line)


OPERATIONS = bind(
    Submissions,
    post(
        "/v1/sessions/{session_id}/runs",
        Submissions.start_run,
        "Queue a run.",
        Submission,
        RunView,
        *WAIT,
        good=(202,),
        problems=(404, 409),
        key=True,
    ),
)
