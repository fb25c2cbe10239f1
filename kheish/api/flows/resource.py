"""Flows by HTTP: start, list, show, follow, report, cancel, and evidence that users attach."""

from __future__ import annotations

from typing import Annotated, Any

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import at_revision, sessions, views
from kheish.api.assets import seeing
from kheish.api.flows import events
from kheish.api.http import media, paging, sse
from kheish.api.http.bodies import Body, Key, Name, Reason, Targets
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.report import resource as report
from kheish.api.services import Services
from kheish.api.submissions import Budget
from kheish.api.views import Doc
from kheish.auth.tokens import Principal
from kheish.authoring.playbooks import source as sources
from kheish.beneath import Door, pool
from kheish.domain import keys, references
from kheish.domain.events import Idempotency
from kheish.domain.events.flows import EvidenceKind
from kheish.domain.flows import (
    advance as flow_driving,
    evidence as flow_evidence,
    inputs as flow_inputs,
    start as flow_start,
    status as flow_status,
    view as flow_view,
)
from kheish.domain.flows.evidence import Attached, Given
from kheish.domain.flows.flow import Flow
from kheish.domain.flows.start import Start
from kheish.domain.flows.status import FINAL, FlowStatus
from kheish.domain.sessions.session import Session
from kheish.domain.workspaces import door_of
from kheish.errors import Fault, Invalid, NotFound
from kheish.runtime import judging
from kheish.state import pins
from kheish.store.bus import Frame
from kheish.texts import is_blank

LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", FlowStatus),
    *(paging.text(name) for name in flow_view.NOUN.filters),
    paging.PREFIX,
)
WAIT = Param(
    name="wait", kind="duration", about="Wait until the Flow ends, waits or is blocked, for at most this time (`30s`)."
)
#: statuses in which a waiting caller may have to act
STOPS = FINAL | {FlowStatus.WAITING, FlowStatus.BLOCKED}


class StartFlow(Body):
    """A request to start a Flow."""

    playbook: Name
    """The Playbook; also `id@version`."""
    version: Name | None = None
    """The version, verified or above; without it, the active version, or a canary by its percentage."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """The values of the Playbook's `inputs`."""
    session_id: Name | None = None
    """The session that it runs in; without it, a new session is created."""
    budget: Budget | None = None
    """The budget of the Flow: cost, tokens and model calls over all of its runs, turns and wall time in each."""
    reply_targets: Targets | None = None
    """The targets of outputs."""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same Flow. It may also be sent as the header Idempotency-Key."""


class AttachEvidence(Body):
    """A request to attach evidence."""

    kind: EvidenceKind
    """The kind of evidence. An attestation is your own statement."""
    id: Annotated[str, Field(min_length=1, max_length=500)]
    """Its name in the Playbook's `evidence`, or the reference itself."""
    ref: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """The referenced object; without it, `id` is the reference."""
    phase: Name | None = None
    """Its phase; without it, the phase that requires it, else the Flow as a whole."""
    description: Annotated[str, Field(max_length=4000)] = ""
    """The claim that it supports. For an attestation, this text is the evidence."""
    idempotency_key: Key | None = None
    """The same key attaches once. It may also be sent as the header Idempotency-Key."""


class CancelFlow(Body):
    """A request to stop a Flow and its runs."""

    reason: Reason | None = None
    """The reason, for the journal."""


class Flows:
    """The resource of `/v1/flows` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state
        self._feed = services.feed

    async def list_flows(self, req: Request, resp: Response) -> None:
        """Answer with a page of Flows, newest first."""
        media.send(resp, await views.listed(self._state, Flow, req.context.query))

    async def start_flow(self, req: Request, resp: Response) -> None:
        """Start a Flow (202)."""
        body = await media.read(req, StartFlow)
        request = media.idempotency(req, body, "flows")
        key = await keys.known(self._state, request)
        if key is None or key.result is None:
            flow = await begin(self._services, body, req.context.principal, request)
        else:
            assert key.session_id is not None
            async with self._state.using(key.session_id):
                flow = self._state.find(Flow, key.result) or key.result
        flow_id = flow if isinstance(flow, str) else flow.flow_id
        doc = None if isinstance(flow, str) else views.of(self._state, flow)
        await self._state.durable()
        if wait := req.context.query.get("wait"):
            await settled(self._services, flow_id, wait)
            sse.check_lasts(self._services, req)
            doc = None
        whole = await views.document(self._state, Flow, flow_id) if doc is None else (await self._expand([doc]))[0]
        resp.set_header("Location", f"/v1/flows/{flow_id}")
        media.send(resp, whole, status=202, n=whole["n"])

    async def _expand(self, docs: list[Doc]) -> list[Doc]:
        return await views.expand(self._state, docs)

    async def get_flow(self, req: Request, resp: Response, flow_id: str) -> None:
        """Answer with one Flow; with `?wait=`, after it has ended, waits or is blocked; with `?at=`, as of a commit."""
        if rev := req.context.query.get("at"):
            return media.send(resp, await at_revision.document(self._services, resp, Flow, flow_id, rev))
        if wait := req.context.query.get("wait"):
            await settled(self._services, flow_id, wait)
            sse.check_lasts(self._services, req)
        return media.send(resp, await views.document(self._state, Flow, flow_id))

    async def flow_events(self, req: Request, resp: Response, flow_id: str) -> None:
        """Stream the events of the Flow and its runs."""
        await events.follow(self._services, self._feed, req, resp, flow_id)

    async def cancel_flow(self, req: Request, resp: Response, flow_id: str) -> None:
        """Stop a Flow and its runs for good; a cancelled Flow remains unchanged."""
        body = await media.read(req, CancelFlow)
        async with pins.thing(self._state, Flow, flow_id) as ended:
            if ended is not None:
                if ended["status"] != FlowStatus.CANCELLED:
                    raise flow_driving.ended(flow_id, ended["status"])
                return media.send(resp, (await self._expand([ended]))[0])
            before = self._state.get(Flow, flow_id).n
            flow = flow_driving.cancel(self._state, flow_id, by=req.context.principal, reason=body.reason)
            doc, n = views.of(self._state, flow), flow.n
        await self._state.durable()
        return media.send(resp, (await self._expand([doc]))[0], n=n if n != before else None)

    async def attach_evidence(self, req: Request, resp: Response, flow_id: str) -> None:
        """Attach evidence (201); the referenced object must exist."""
        body = await media.read(req, AttachEvidence)
        request = media.idempotency(req, body, f"flows/{flow_id}/evidence")
        async with pins.thing(self._state, Flow, flow_id) as ended:
            key = await keys.known(self._state, request)
            if key is not None and key.result is not None:
                return await self._answer_repeated(resp, flow_id, key.result)
            if ended is not None:
                raise flow_driving.ended(flow_id, ended["status"])
            given, facts = await self._resolve_evidence(flow_id, body, req.context.caller)
            key = await keys.known(self._state, request)  # the same request may have succeeded during the await
            if key is not None and key.result is not None:
                return await self._answer_repeated(resp, flow_id, key.result)
            how = Attached(by=req.context.principal, facts=facts, evidence_id=ids.new("evid"), key=key)
            flow_evidence.attach(self._state, flow_id, given, how)
            flow = self._state.get(Flow, flow_id)
            doc, n = views.of(self._state, flow), flow.n
        await self._state.durable()
        return media.send(resp, (await self._expand([doc]))[0], status=201, n=n)

    async def _answer_repeated(self, resp: Response, flow_id: str, evidence_id: str) -> None:
        """Answer a repeated request with the result of the first."""
        doc = await views.document(self._state, Flow, flow_id)
        assert any(one["evidence_id"] == evidence_id for one in doc["evidence"])
        media.send(resp, doc, status=200)

    async def _resolve_evidence(self, flow_id: str, body: AttachEvidence, caller: Principal) -> tuple[Given, Doc]:
        """Return the evidence with its place in the Flow, and its object. Raises Invalid, EvidenceUnresolved."""
        flow = self._state.get(Flow, flow_id)
        given = flow_evidence.placed(flow, Given(**body.model_dump(exclude={"idempotency_key"})))
        if given.kind == flow_evidence.ATTESTATION:
            if is_blank(given.description):
                raise Invalid(
                    "An attestation is a text: write the statement that you attest.",
                    errors=[Fault("/description", "is empty")],
                )
            return given, {"attested_by": caller.name}
        workspace = self._state.get(Session, flow.session_id).settings["workspace"]
        place = references.Place(
            index=self._state.index,
            root=self._state.root,
            session_id=flow.session_id,
            workspace=door_of(self._state, workspace) if workspace else None,
        )
        if given.kind == "asset" and given.ref is not None:
            try:
                await seeing.get(self._state, caller, given.ref)
            except NotFound as error:
                raise references.unresolved(error.detail) from error
        await self._state.caught_up()
        door = place.workspace or Door(self._state.root)
        return given, await pool.run(door, references.resolve, place, given.kind, given.ref)


async def begin(
    services: Services,
    body: StartFlow,
    by: str,
    request: Idempotency | None,
    observation_ids: tuple[str, ...] = (),
) -> Flow | str:
    """Choose the version, complete the inputs, and start the Flow, whose first phases get the observations.

    Returns the id of the Flow if another request with this key has started it meanwhile. Raises as `start` does.
    """
    state = services.state
    playbook, version = _split_reference(body)
    flow_id = ids.new("flow")
    source = await sources.source(state, services.playbooks.read, playbook, version, flow_id)
    inputs = await judging.run(flow_inputs.complete, source.manifest, body.inputs)
    session_id = ids.check_slug(body.session_id, "session_id") if body.session_id else flow_id
    async with sessions.using_or_new(state, session_id):
        session = state.find(Session, session_id)
        workspace = None if session else await services.workspaces.default(session_id)
        key = await keys.known(state, request)
        given = Start(
            flow_id=flow_id,
            source=source,
            inputs=inputs,
            by=by,
            session_id=session_id,
            workspace=workspace,
            budget=body.budget.model_dump(mode="json", exclude_none=True) if body.budget else None,
            reply_targets=tuple(body.reply_targets or ()),
            key=key,
            observation_ids=observation_ids,
        )
        return flow_start.start(state, given)


async def settled(services: Services, flow_id: str, timeout: float) -> None:
    """Wait until the Flow has ended, waits or is blocked, `timeout` seconds have passed, or the daemon stops."""
    flow = services.state.find(Flow, flow_id)
    if flow is None or _is_settled(services, flow_id):
        return

    def wakes(frame: Frame) -> bool:
        return bool(frame.n) and _is_settled(services, flow_id)

    await services.waits.until(("session", flow.session_id), wakes, timeout)


def _is_settled(services: Services, flow_id: str) -> bool:
    """Return whether the wait is over; a Flow that is not in memory is settled."""
    flow = services.state.find(Flow, flow_id)
    return flow is None or flow_status.status(flow) in STOPS


def _split_reference(body: StartFlow) -> tuple[str, str | None]:
    """Return the Playbook and the version, which may share one field. Raises Invalid if two versions are named."""
    playbook, at, version = body.playbook.partition("@")
    if at and body.version is not None and body.version != version:
        raise Invalid(
            f"Two versions are named, {version!r} and {body.version!r}; name one.",
            errors=[Fault("/version", "differs from that in playbook")],
        )
    return playbook, (version if at else body.version)


ONE = "/v1/flows/{flow_id}"
OPERATIONS = (
    *bind(
        Flows,
        post(
            "/v1/flows",
            Flows.start_flow,
            "Start a Playbook version: release, inputs, routes and reply targets are checked; then it runs.",
            StartFlow,
            flow_view.FlowView,
            WAIT,
            good=(202,),
            problems=(404, 409),
            key=True,
        ),
        get("/v1/flows", Flows.list_flows, "List Flows, newest first.", flow_view.FlowView, *LIST, page=True),
        get(
            ONE,
            Flows.get_flow,
            "Get one Flow, now or as of a commit.",
            flow_view.FlowView,
            WAIT,
            at_revision.AT,
            problems=(404,),
        ),
        get(
            f"{ONE}/events",
            Flows.flow_events,
            "Stream the events of the Flow and its runs.",
            None,
            *sse.PARAMS,
            media="text/event-stream",
            problems=(404,),
        ),
    ),
    *report.OPERATIONS,
    *bind(
        Flows,
        post(
            f"{ONE}/cancel",
            Flows.cancel_flow,
            "Stop a Flow and its runs for good.",
            CancelFlow,
            flow_view.FlowView,
            problems=(404, 409),
        ),
        post(
            f"{ONE}/evidence",
            Flows.attach_evidence,
            "Attach evidence (201); the referenced object must exist. The same key returns the earlier evidence (200).",
            AttachEvidence,
            flow_view.FlowView,
            good=(201, 200),
            problems=(404, 409),
            key=True,
        ),
    ),
)
