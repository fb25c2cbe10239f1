"""Materializing by HTTP: observations become the input of a run, or of a Flow."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from falcon.asgi import Request, Response
from pydantic import Field, model_validator

from kheish.api.flows import resource as flows
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Few, Key, Name
from kheish.api.services import Services
from kheish.domain import intake, keys
from kheish.domain.events import Idempotency, Item
from kheish.domain.observations.selection import Selection
from kheish.runtime import submission
from kheish.runtime.observations import selecting

SOURCE, KIND = "observations", "observation_input"


class ObservedFlow(Body):
    """The Flow to start."""

    playbook: Name
    """The Playbook; also `id@version`."""
    version: Name | None = None
    """The version; without it, the active one."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """The values of the Playbook's `inputs`."""
    session_id: Name | None = None
    """The session that it runs in; without it, a new session is created."""


class MaterializationTarget(Body):
    """The target: a run in a session, or a Flow."""

    session: Name | None = None
    """The session of the run."""
    content: Annotated[str, Field(min_length=1)] | None = None
    """The task of the run; the observations follow it."""
    route: Name | None = None
    """`route` or `route/model`; without it, the session's, or the daemon's default."""
    metadata: Few | None = None
    """Data of your own for the run."""
    flow: ObservedFlow | None = None
    """A Flow instead of a run; its first phases get the observations."""

    @model_validator(mode="after")
    def _one_of_both(self) -> MaterializationTarget:
        if (self.session is None) == (self.flow is None):
            raise ValueError("name either a session or a flow")
        if self.flow is not None and (self.content or self.route or self.metadata):
            raise ValueError("content, route and metadata are for a run; a flow has inputs")
        return self


class MaterializeObservations(Body):
    """A request to give observations to a run or a Flow."""

    select: Selection
    """The choice of observations."""
    to: MaterializationTarget
    """The target."""
    fail_when_empty: bool = False
    """Whether an empty selection is refused (409 `no_observations`); otherwise the run learns that it is empty."""
    idempotency_key: Key | None = None
    """The same key starts once. It may also be sent as the header Idempotency-Key."""


class Materialized(Answer):
    """The run or the Flow that was started, with the observations that it got."""

    run_id: str | None
    flow_id: str | None
    session_id: str
    observation_ids: list[str]
    left_out: int
    """The number of them that do not fit into the prompt: the oldest. Texts that are derived are not counted."""


async def materialize(services: Services, req: Request, resp: Response) -> None:
    """Start a run or a Flow with observations (202)."""
    body = await media.read(req, MaterializeObservations)
    state, keeper = services.state, services.observations.keeper
    request = media.idempotency(req, body, "observations/materialize")
    parts, observation_ids = await selecting.items(keeper, body.select, fail_when_empty=body.fail_when_empty)
    if body.to.flow is not None:
        found = await _start_flow(services, body.to.flow, tuple(observation_ids), req, request)
    else:
        found = await _start_run(services, body.to, parts, req, request)
    n = state.n
    await state.durable()
    shower = services.observations.shower
    left_out = sum([await shower.left_out(one.observation_ids) for one in parts if one.observation_ids])
    answer = {**found, "observation_ids": observation_ids, "left_out": left_out}
    media.send(resp, answer, status=202, n=n)


async def _start_flow(
    services: Services, given: ObservedFlow, observation_ids: tuple[str, ...], req: Request, request: Idempotency | None
) -> dict[str, Any]:
    key = await keys.known(services.state, request)
    if key is not None and key.result is not None:
        return {"run_id": None, "flow_id": key.result, "session_id": key.session_id}
    wanted = flows.StartFlow(**given.model_dump())
    flow = await flows.begin(services, wanted, req.context.principal, request, observation_ids)
    if isinstance(flow, str):
        return {"run_id": None, "flow_id": flow, "session_id": given.session_id or flow}
    return {"run_id": None, "flow_id": flow.flow_id, "session_id": flow.session_id}


async def _start_run(
    services: Services,
    to: MaterializationTarget,
    parts: tuple[Item, ...],
    req: Request,
    request: Idempotency | None,
) -> dict[str, Any]:
    state, session_id = services.state, to.session or ""
    async with state.using(session_id):
        given = intake.Input(
            session_id=session_id,
            items=(Item(text=to.content or selecting.TASK), *parts),
            actor=req.context.principal,
            source=SOURCE,
            kind=KIND,
            metadata=dict(to.metadata or {}),
            route=to.route,
        )
        key = await keys.known(state, request)
        run = await submission.submit(state, replace(given, key=key), by=req.context.principal)
    return {
        "run_id": run if isinstance(run, str) else run.run_id,
        "flow_id": None,
        "session_id": session_id,
    }
