"""The API's view of a Flow, and its Record (`shapes.md`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kheish.domain.approvals import Approval
from kheish.domain.events import Entry, PhasePlan, changed
from kheish.domain.flows import flow as flows
from kheish.domain.flows import status as flow_status
from kheish.domain.flows.flow import Evidence, Flow, Part, Refused
from kheish.domain.flows.status import PhaseStatus
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.spent import Spent
from kheish.state.noun import Noun, Tables


def view(flow: Flow) -> dict[str, Any]:
    """Return the Flow as the API and its Record show it."""
    statuses = flow_status.phase_statuses(flow)
    return {
        "flow_id": flow.flow_id,
        "playbook": flow.playbook,
        "version": flow.version,
        "digest": flow.digest,
        "tag": flow.tag,
        "commit": flow.commit,
        "title": flow.plan.title,
        "objective": flow.plan.objective,
        "drive": flow.plan.drive,
        "session_id": flow.session_id,
        "path": flow.path,
        "status": str(flow_status.status(flow)),
        "reason": flow.reason,
        "inputs": flow.inputs,
        "phases": [_phase(flow, plan, statuses[plan.phase_id]) for plan in flow.plan.phases],
        "evidence": [evidence(one) for one in flow.evidence],
        "missing": flow_status.missing(flow, None),
        "approvals": list(flow.approvals.values()),
        "runs": [_run(part) for part in flow.runs.values()],
        "agents": [{"agent_id": flow.agent_id, "session_id": flow.session_id}],
        "outputs": [
            {"run_id": part.run_id, "output_id": one.output_id, "kind": one.kind, "content": one.content}
            for part in flow.runs.values()
            for one in part.outputs
        ],
        "refused": [_refused(one) for one in flow.refused],
        "usage": spent(flow.runs.values()),
        "budget": flow.plan.budget,
        "reply_targets": flow.reply_targets,
        "started_by": flow.started_by,
        "started_at": flow.started_at,
        "finished_at": flow.finished_at,
        "n": flow.n,
    }


def _phase(flow: Flow, plan: PhasePlan, status: PhaseStatus) -> dict[str, Any]:
    own = flow_status.parts(flow, plan.phase_id)
    mine = [part for part in flow.runs.values() if part.phase == plan.phase_id]
    end = flow.ends.get(plan.phase_id)
    started = next((part.started_at for part in own if part.started_at), None)
    return {
        "phase_id": plan.phase_id,
        "status": str(status),
        "objective": plan.objective,
        "role": plan.role,
        "needs": plan.needs,
        "approval": plan.approval,
        "run_ids": [part.run_id for part in own],
        "attempts": flow.attempts.get(plan.phase_id, 0),
        "retried": flow.retried.get(plan.phase_id, ()),
        "started_at": started if status is not PhaseStatus.PENDING or mine else None,
        "finished_at": end.at if end else None,
        "reason": end.reason if end else None,
        "cost_usd": spent(mine).cost_usd,
        "usage": spent(mine),
        "evidence": [evidence(one) for one in flow.evidence if one.phase == plan.phase_id],
        "wanted": plan.evidence,
        "missing": flow_status.missing(flow, plan),
    }


def evidence(one: Evidence) -> dict[str, Any]:
    """Return a piece of evidence as the API shows it."""
    return {
        "evidence_id": one.evidence_id,
        "kind": one.kind,
        "id": one.id,
        "ref": one.ref,
        "phase": one.phase,
        "description": one.description,
        "facts": one.facts,
        "by": one.by,
        "run_id": one.run_id,
        "at": one.at,
    }


def _run(part: Part) -> dict[str, Any]:
    return {
        "run_id": part.run_id,
        "phase": part.phase,
        "attempt": part.attempt,
        "status": str(part.status),
        "started_at": part.started_at,
        "finished_at": part.finished_at,
        "usage": part.usage,
        "output": part.output,
        "error": part.error,
    }


def _refused(one: Refused) -> dict[str, Any]:
    return {
        "run_id": one.run_id,
        "phase": one.phase,
        "tool": one.tool,
        "call_id": one.call_id,
        "reason": one.reason,
        "at": one.at,
    }


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
