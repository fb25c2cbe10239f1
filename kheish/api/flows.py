"""Flows by HTTP: start, list, show, follow, report, cancel, and evidence that people attach."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import flow_models, flow_waits, media, paging, past, sessions, sse, views
from kheish.api.feed import Feed, OfFlow
from kheish.api.paging import Param
from kheish.api.parts import Parts
from kheish.api.views import Doc
from kheish.beneath import Door, pool
from kheish.domain import flow_driving, flow_evidence, flow_inputs, flow_start, keys, pins, playbooks, references
from kheish.domain.events import Idempotency
from kheish.domain.flow_evidence import Attached, Given
from kheish.domain.flow_start import Source, Start
from kheish.domain.flow_status import FlowStatus
from kheish.domain.flows import Flow
from kheish.domain.playbooks import RELEASES
from kheish.domain.sessions import Session
from kheish.domain.workspaces import door_of
from kheish.errors import Fault, Invalid
from kheish.runtime import judging

FIELDS = ("playbook", "version")
LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", FlowStatus),
    *(paging.text(name) for name in FIELDS),
    paging.PREFIX,
)
WAIT = Param(
    name="wait", kind="duration", about="Answer when the Flow ends, waits or is blocked, or this time is over (`30s`)."
)


class Flows:
    """`/v1/flows` and what is below."""

    def __init__(self, parts: Parts, feed: Feed) -> None:
        self._parts = parts
        self._state = parts.state
        self._feed = feed

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of Flows, newest first."""
        media.send(resp, await views.listed(self._state, Flow, req.context.query, FIELDS))

    async def on_post(self, req: Request, resp: Response) -> None:
        """Start a Flow (202)."""
        body = await media.read(req, flow_models.StartFlow)
        request = media.idempotency(req, body, "flows")
        key = await keys.known(self._state, request)
        if key is None or key.result is None:
            found = await self._started(body, req.context.principal, request)
        else:
            assert key.session_id is not None
            async with self._state.using(key.session_id):
                found = self._state.find(Flow, key.result) or key.result
        flow_id = found if isinstance(found, str) else found.flow_id
        doc = None if isinstance(found, str) else views.of(self._state, found)
        await self._state.durable()
        if wait := req.context.query.get("wait"):
            await flow_waits.settled(self._parts, flow_id, wait)
            sse.check_lasts(self._parts, req)
            doc = None
        whole = await views.document(self._state, Flow, flow_id) if doc is None else (await self._whole([doc]))[0]
        resp.set_header("Location", f"/v1/flows/{flow_id}")
        media.send(resp, whole, status=202, n=whole["n"])

    async def _started(self, body: flow_models.StartFlow, by: str, request: Idempotency | None) -> Flow | str:
        """Choose the version, complete the inputs, and start the Flow. Returns the id of the Flow that another request
        with this key has started meanwhile. Raises as `start` does."""
        playbook, version = _named(body)
        flow_id = ids.new("flow")
        source = await self._source(playbook, version, flow_id)
        inputs = await judging.run(flow_inputs.complete, source.manifest, body.inputs)
        session_id = ids.check_slug(body.session_id, "session_id") if body.session_id else flow_id
        async with sessions.using_or_new(self._state, session_id):
            there = self._state.find(Session, session_id)
            workspace = None if there else await self._parts.workspaces.default(session_id)
            key = await keys.known(self._state, request)
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
            )
            return flow_start.start(self._state, given)

    async def _source(self, playbook_id: str, version: str | None, flow_id: str) -> Source:
        """The version that is started, as its tag's tree has it. Raises NotFound, VersionTampered, …"""
        async with pins.owner(self._state, RELEASES, ids.check_slug(playbook_id, "playbook")):
            one = playbooks.resolve(self._state, playbook_id, version, flow_id)
            released = await self._parts.playbooks.read(playbook_id, one.version)
            playbooks.resolve(self._state, playbook_id, one.version, flow_id)  # it may have been revoked meanwhile
        return Source(
            playbook_id=playbook_id,
            version=one.version,
            digest=one.digest,
            tag=one.tag,
            commit=one.commit,
            manifest=released.manifest,
        )

    async def _whole(self, docs: list[Doc]) -> list[Doc]:
        return await views.expand(self._state, docs)

    async def on_get_one(self, req: Request, resp: Response, flow_id: str) -> None:
        """One Flow; with `?wait=`, once it has ended, waits or is blocked; with `?at=`, as it was."""
        if rev := req.context.query.get("at"):
            return media.send(resp, await past.document(self._parts, resp, Flow, flow_id, rev))
        if wait := req.context.query.get("wait"):
            await flow_waits.settled(self._parts, flow_id, wait)
            sse.check_lasts(self._parts, req)
        return media.send(resp, await views.document(self._state, Flow, flow_id))

    async def on_get_events(self, req: Request, resp: Response, flow_id: str) -> None:
        """The Flow's events, and those of its runs, as a stream."""
        await follow(self._parts, self._feed, req, resp, flow_id)

    async def on_post_cancel(self, req: Request, resp: Response, flow_id: str) -> None:
        """Stop a Flow and its runs for good; a cancelled one stays as it is."""
        body = await media.read(req, flow_models.CancelFlow)
        async with pins.thing(self._state, Flow, flow_id) as ended:
            if ended is not None:
                if ended["status"] != FlowStatus.CANCELLED:
                    raise flow_driving.ended(flow_id, ended["status"])
                return media.send(resp, (await self._whole([ended]))[0])
            before = self._state.get(Flow, flow_id).n
            flow = flow_driving.cancel(self._state, flow_id, by=req.context.principal, reason=body.reason)
            doc, n = views.of(self._state, flow), flow.n
        await self._state.durable()
        return media.send(resp, (await self._whole([doc]))[0], n=n if n != before else None)

    async def on_post_evidence(self, req: Request, resp: Response, flow_id: str) -> None:
        """Attach evidence (201); what it refers to must be there."""
        body = await media.read(req, flow_models.AttachEvidence)
        request = media.idempotency(req, body, f"flows/{flow_id}/evidence")
        async with pins.thing(self._state, Flow, flow_id) as ended:
            key = await keys.known(self._state, request)
            if key is not None and key.result is not None:
                return await self._again(resp, flow_id, key.result)
            if ended is not None:
                raise flow_driving.ended(flow_id, ended["status"])
            given, facts = await self._resolved(flow_id, body, req.context.principal)
            key = await keys.known(self._state, request)  # what took time may have let the same request in
            if key is not None and key.result is not None:
                return await self._again(resp, flow_id, key.result)
            how = Attached(by=req.context.principal, facts=facts, evidence_id=ids.new("evid"), key=key)
            flow_evidence.attach(self._state, flow_id, given, how)
            flow = self._state.get(Flow, flow_id)
            doc, n = views.of(self._state, flow), flow.n
        await self._state.durable()
        return media.send(resp, (await self._whole([doc]))[0], status=201, n=n)

    async def _again(self, resp: Response, flow_id: str, evidence_id: str) -> None:
        """The same key and request as before: what it did then."""
        doc = await views.document(self._state, Flow, flow_id)
        assert any(one["evidence_id"] == evidence_id for one in doc["evidence"])
        media.send(resp, doc, status=200)

    async def _resolved(self, flow_id: str, body: flow_models.AttachEvidence, by: str) -> tuple[Given, Doc]:
        """The evidence with its place in the Flow, and what it refers to. Raises Invalid, EvidenceUnresolved."""
        flow = self._state.get(Flow, flow_id)
        given = flow_evidence.placed(flow, Given(**body.model_dump(exclude={"idempotency_key"})))
        if given.kind == flow_evidence.ATTESTATION:
            if not given.description.strip():
                raise Invalid(
                    "An attestation is a text: say what you attest.", errors=[Fault("/description", "is empty")]
                )
            return given, {"attested_by": by}
        workspace = self._state.get(Session, flow.session_id).settings["workspace"]
        place = references.Place(
            index=self._state.index,
            root=self._state.root,
            session_id=flow.session_id,
            workspace=door_of(self._state, workspace) if workspace else None,
        )
        await self._state.caught_up()
        door = place.workspace or Door(self._state.root)
        return given, await pool.run(door, references.resolve, place, given.kind, given.ref)


async def follow(parts: Parts, feed: Feed, req: Request, resp: Response, flow_id: str) -> None:
    """Answer with a stream of a Flow's events, and those of its runs. Raises NotFound."""
    doc = await views.document(parts.state, Flow, flow_id)
    of = OfFlow(flow_id, {run["run_id"] for run in doc["runs"]})
    sse.answer(req, resp, parts, feed, session=doc["session_id"], flow=of)


def _named(body: flow_models.StartFlow) -> tuple[str, str | None]:
    """The Playbook and the version, which may stand in one word. Raises Invalid where two are named."""
    playbook, at, version = body.playbook.partition("@")
    if at and body.version is not None and body.version != version:
        raise Invalid(
            f"Two versions are named, {version!r} and {body.version!r}; name one.",
            errors=[Fault("/version", "differs from that in playbook")],
        )
    return playbook, (version if at else body.version)
