"""Responses about Flows, as models (see `answers`)."""

from __future__ import annotations

from typing import Any, Literal

from kheish.api.answers import RunFailure, RunUsage
from kheish.api.http.answer import Answer
from kheish.domain.approvals import DecisionView
from kheish.domain.events.flows import EvidenceKind


class Evidence(Answer):
    """Evidence of work that was done."""

    evidence_id: str
    kind: EvidenceKind
    id: str
    """Its name in the Playbook, or the reference itself."""
    ref: str | None
    """The referenced object; null for an attestation."""
    phase: str | None
    description: str
    facts: dict[str, Any]
    """The referenced object's state when it was attached: the sha256 of a file, the id and author of a commit …"""
    by: str
    """The author of the attachment."""
    run_id: str | None
    """The run in which an agent attached it."""
    at: str


class WantedEvidence(Answer):
    """Evidence that the Playbook asks for."""

    kind: EvidenceKind
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
    """The reasons for each further attempt."""
    started_at: str | None
    finished_at: str | None
    reason: str | None
    """The reason why it failed or was skipped."""
    cost_usd: float | None
    usage: RunUsage
    evidence: list[Evidence]
    wanted: list[WantedEvidence]
    missing: list[str]
    """Ids of required evidence that is missing."""


class FlowApproval(Answer):
    """An approval within a Flow, and its decisions."""

    approval_id: str
    run_id: str
    phase: str | None
    tool: str
    """`phase` for one that the Playbook asks for."""
    when: Literal["before", "after"] | None
    """For a phase's approval: whether it comes before or after the phase."""
    status: Literal["pending", "allowed", "denied", "expired", "cancelled"]
    why: str
    requested_at: str
    decided_at: str | None
    decided_by: str | None
    via: str | None
    reason: str | None
    decisions: list[DecisionView]
    """All decisions: two persons may be required."""


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
    """Interim output of a run of the Flow."""

    run_id: str
    output_id: str
    kind: str
    content: str


class RefusedCall(Answer):
    """A tool call that the permissions or a tool policy refused."""

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
    status: Literal["pending", "running", "waiting", "succeeded", "failed", "cancelled", "blocked"]
    reason: str | None
    """The reason why it failed or was cancelled."""
    inputs: dict[str, Any]
    phases: list[FlowPhase]
    evidence: list[Evidence]
    missing: list[str]
    """Ids of required evidence of the whole Flow that is missing."""
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
