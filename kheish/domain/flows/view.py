"""The API's view of a Flow, and its Record (`shapes.md`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from kheish.domain.approvals import Approval
from kheish.domain.events import Entry, PhasePlan, RunError, Text, WantedEvidence, changed, frozen
from kheish.domain.flows import flow as flows, status as flow_status
from kheish.domain.flows.flow import Asked, Evidence, Flow, Part, Refused
from kheish.domain.flows.status import FlowStatus, PhaseStatus
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.shown import View
from kheish.domain.spent import Spent
from kheish.state.noun import Noun, Tables


@frozen
class FlowPhaseView(View):
    """A phase of a Flow."""

    phase_id: str
    status: PhaseStatus
    objective: str
    role: str | None
    needs: tuple[str, ...]
    approval: Literal["none", "before", "after"]
    run_ids: tuple[str, ...]
    """All attempts, oldest first."""
    attempts: int
    retried: tuple[str, ...]
    """The reasons for each further attempt."""
    started_at: str | None
    finished_at: str | None
    reason: str | None
    """The reason why it failed or was skipped."""
    cost_usd: float | None
    usage: Spent
    evidence: tuple[Evidence, ...]
    wanted: tuple[WantedEvidence, ...]
    missing: tuple[str, ...]
    """Ids of required evidence that is missing."""


@frozen
class FlowRunView(View):
    """A run of a Flow."""

    run_id: str
    phase: str | None
    """null for the one run of `drive: agent`."""
    attempt: int
    status: str
    started_at: str | None
    finished_at: str | None
    usage: Spent
    output: Text | None
    error: RunError | None


@frozen
class FlowOutputView(View):
    """Interim output of a run of the Flow."""

    run_id: str
    output_id: str
    kind: str
    content: Text


@frozen
class FlowAgentView(View):
    """An agent that works in a Flow."""

    agent_id: str
    session_id: str


@frozen
class FlowView(View):
    """A start of a Playbook version, and its results."""

    flow_id: str
    playbook: str
    version: str
    digest: str
    tag: str
    commit: str | None
    title: str
    objective: str
    drive: Literal["phases", "agent"]
    session_id: str
    path: str
    """Its Record in the state root."""
    status: FlowStatus
    reason: str | None
    """The reason why it failed or was cancelled."""
    inputs: dict[str, Any]
    phases: tuple[FlowPhaseView, ...]
    evidence: tuple[Evidence, ...]
    missing: tuple[str, ...]
    """Ids of required evidence of the whole Flow that is missing."""
    approvals: tuple[Asked, ...]
    runs: tuple[FlowRunView, ...]
    agents: tuple[FlowAgentView, ...]
    outputs: tuple[FlowOutputView, ...]
    refused: tuple[Refused, ...]
    usage: Spent
    budget: dict[str, Any] | None
    reply_targets: tuple[dict[str, Any], ...]
    started_by: str
    started_at: str
    finished_at: str | None
    n: int
    """The newest event that changed it."""


def view(flow: Flow) -> FlowView:
    """Return the Flow as the API and its Record show it."""
    statuses = flow_status.phase_statuses(flow)
    return FlowView(
        flow_id=flow.flow_id,
        playbook=flow.playbook,
        version=flow.version,
        digest=flow.digest,
        tag=flow.tag,
        commit=flow.commit,
        title=flow.plan.title,
        objective=flow.plan.objective,
        drive=flow.plan.drive,
        session_id=flow.session_id,
        path=flow.path,
        status=flow_status.status(flow),
        reason=flow.reason,
        inputs=flow.inputs,
        phases=tuple(_phase(flow, plan, statuses[plan.phase_id]) for plan in flow.plan.phases),
        evidence=flow.evidence,
        missing=flow_status.missing(flow, None),
        approvals=tuple(flow.approvals.values()),
        runs=tuple(map(_run, flow.runs.values())),
        agents=(FlowAgentView(agent_id=flow.agent_id, session_id=flow.session_id),),
        outputs=tuple(
            FlowOutputView(run_id=part.run_id, output_id=one.output_id, kind=one.kind, content=one.content)
            for part in flow.runs.values()
            for one in part.outputs
        ),
        refused=flow.refused,
        usage=spent(flow.runs.values()),
        budget=flow.plan.budget,
        reply_targets=flow.reply_targets,
        started_by=flow.started_by,
        started_at=flow.started_at,
        finished_at=flow.finished_at,
        n=flow.n,
    )


def _phase(flow: Flow, plan: PhasePlan, status: PhaseStatus) -> FlowPhaseView:
    own = flow_status.parts(flow, plan.phase_id)
    mine = [part for part in flow.runs.values() if part.phase == plan.phase_id]
    end = flow.ends.get(plan.phase_id)
    started = next((part.started_at for part in own if part.started_at), None)
    return FlowPhaseView(
        phase_id=plan.phase_id,
        status=status,
        objective=plan.objective,
        role=plan.role,
        needs=plan.needs,
        approval=plan.approval,
        run_ids=tuple(part.run_id for part in own),
        attempts=flow.attempts.get(plan.phase_id, 0),
        retried=flow.retried.get(plan.phase_id, ()),
        started_at=started if status is not PhaseStatus.PENDING or mine else None,
        finished_at=end.at if end else None,
        reason=end.reason if end else None,
        cost_usd=spent(mine).cost_usd,
        usage=spent(mine),
        evidence=tuple(one for one in flow.evidence if one.phase == plan.phase_id),
        wanted=plan.evidence,
        missing=flow_status.missing(flow, plan),
    )


def _run(part: Part) -> FlowRunView:
    return FlowRunView(
        run_id=part.run_id,
        phase=part.phase,
        attempt=part.attempt,
        status=str(part.status),
        started_at=part.started_at,
        finished_at=part.finished_at,
        usage=part.usage,
        output=part.output,
        error=part.error,
    )


def spent(parts: Iterable[Part]) -> Spent:
    """Return the sum of what some runs used."""
    total = Spent()
    for part in parts:
        usage = part.usage
        cost = total.cost_usd if usage.cost_usd is None else (total.cost_usd or 0.0) + usage.cost_usd
        total = changed(
            total,
            input_tokens=total.input_tokens + usage.input_tokens,
            output_tokens=total.output_tokens + usage.output_tokens,
            cached_tokens=total.cached_tokens + usage.cached_tokens,
            model_calls=total.model_calls + usage.model_calls,
            tool_calls=total.tool_calls + usage.tool_calls,
            cost_usd=cost,
            estimated=total.estimated or usage.estimated,
        )
    return total


def _fold(tables: Tables, entry: Entry) -> Iterable[str]:
    session = tables[Session].get(entry.session or "")
    return flows.fold(tables[Flow], entry, tables[Run], tables[Approval], session.agent_id if session else "")


NOUN = Noun(
    name="flow",
    cls=Flow,
    folded=frozenset(flows.FOLDED),
    fold=_fold,
    keep=lambda flow: not flow.is_final,
    view=view,
    status=lambda flow: str(flow_status.status(flow)),
    filed=lambda flow: flow.path,
    filters=("playbook", "version"),
)
