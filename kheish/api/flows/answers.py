"""What callers get of Flows, as models (see `answers`)."""

from __future__ import annotations

from typing import Any, Literal

from kheish.api.answers import RunFailure, RunUsage
from kheish.api.http.answer import Answer
from kheish.domain.approvals import DecisionView

Kind = Literal[
    "run", "tool_call", "task", "approval", "question", "output", "asset", "commit", "file", "agent", "attestation"
]


class Evidence(Answer):
    """Something that shows what was done."""

    evidence_id: str
    kind: Kind
    id: str
    """Its name in the Playbook, or the reference itself."""
    ref: str | None
    """What it refers to; null for an attestation."""
    phase: str | None
    description: str
    facts: dict[str, Any]
    """What the reference was when it was attached: of a file its sha256, of a commit its id and author …"""
    by: str
    """Who attached it."""
    run_id: str | None
    """The run in which an agent attached it."""
    at: str


class WantedEvidence(Answer):
    """Evidence that the Playbook asks for."""

    kind: Kind
    id: str
    description: str
    required: bool


class FlowPhase(Answer):
    """A phase of a Flow."""

    phase_id: str
    status: Literal["pending", "running", "waiting", "satisfied", "blocked", "failed", "skipped"]
    objective: str
    role: str | None
    needs: list[str]
    approval: Literal["none", "before", "after"]
    run_ids: list[str]
    """All attempts, oldest first."""
    attempts: int
    retried: list[str]
    """Why each attempt but the last was not the last."""
    started_at: str | None
    finished_at: str | None
    reason: str | None
    """Why it failed or was skipped."""
    cost_usd: float | None
    usage: RunUsage
    evidence: list[Evidence]
    wanted: list[WantedEvidence]
    missing: list[str]
    """Ids of required evidence that is not there."""


class FlowApproval(Answer):
    """An approval within a Flow, and who decided it."""

    approval_id: str
    run_id: str
    phase: str | None
    tool: str
    """`phase` for one that the Playbook asks for."""
    when: Literal["before", "after"] | None
    """Of a phase's approval: whether it stands before or after the phase."""
    status: Literal["pending", "allowed", "denied", "expired", "cancelled"]
    why: str
    requested_at: str
    decided_at: str | None
    decided_by: str | None
    via: str | None
    reason: str | None
    decisions: list[DecisionView]
    """Every word that was given: it may need two persons."""


class FlowRun(Answer):
    """A run of a Flow."""

    run_id: str
    phase: str | None
    """null for the one run of `drive: agent`."""
    attempt: int
    status: str
    started_at: str | None
    finished_at: str | None
    usage: RunUsage
    output: str | None
    error: RunFailure | None


class FlowOutput(Answer):
    """Something that a run of the Flow gave out on its way."""

    run_id: str
    output_id: str
    kind: str
    content: str


class RefusedCall(Answer):
    """A tool call that the permissions or a tool policy did not let through."""

    run_id: str
    phase: str | None
    tool: str
    call_id: str
    reason: str
    at: str


class FlowAgent(Answer):
    """An agent that works in a Flow."""

    agent_id: str
    session_id: str


class Flow(Answer):
    """One start of one Playbook version, and what it led to."""

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
    status: Literal["pending", "running", "waiting", "succeeded", "failed", "cancelled", "blocked"]
    reason: str | None
    """Why it failed or was cancelled."""
    inputs: dict[str, Any]
    phases: list[FlowPhase]
    evidence: list[Evidence]
    missing: list[str]
    """Ids of required evidence of the whole that is not there."""
    approvals: list[FlowApproval]
    runs: list[FlowRun]
    agents: list[FlowAgent]
    outputs: list[FlowOutput]
    refused: list[RefusedCall]
    usage: RunUsage
    budget: dict[str, Any] | None
    reply_targets: list[dict[str, Any]]
    started_by: str
    started_at: str
    finished_at: str | None
    n: int
    """The newest event that changed it."""
