"""Events of Flows: start, phases, evidence, cancellation, and the seal."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.domain.events.runs import Idempotency
from kheish.domain.shown import View
from kheish.state.event import Event, Text, frozen

Approval = Literal["none", "before", "after"]
#: the targets of an evidence reference; `attestation` is the statement of a named person
EvidenceKind = Literal[
    "run", "tool_call", "task", "approval", "question", "output", "asset", "commit", "file", "agent", "attestation"
]


@frozen
class WantedEvidence(View):
    """Evidence that a Playbook requires or allows, for a phase or for the whole Flow."""

    shown_as = "WantedEvidence"
    kind: EvidenceKind
    id: str
    description: str = ""
    required: bool = True


@frozen
class ToolLimits:
    """The tools that a Playbook or a phase leaves available; `allow` None: all."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@frozen
class PhasePlan:
    """A phase as frozen by the Flow, with the inputs filled in. `timeout` in seconds."""

    phase_id: str
    objective: str = ""
    instructions: str = ""
    role: str | None = None
    needs: tuple[str, ...] = ()
    acceptance: tuple[Any, ...] = ()
    evidence: tuple[WantedEvidence, ...] = ()
    tools: ToolLimits = ToolLimits()
    approval: Approval = "none"
    retries: int = 0
    on_failure: Literal["fail", "continue"] = "fail"
    timeout: float | None = None
    worker: dict[str, Any] | None = None  # a choice: `id` or `labels`


@frozen
class RolePlan:
    """The role that works on a phase: the purpose, the route, and the persona's snapshot at the start."""

    purpose: str = ""
    route: str | None = None
    persona: dict[str, Any] | None = None


@frozen
class Plan:
    """The part of its Playbook version that the Flow froze, with the inputs filled in."""

    title: str
    objective: str
    drive: Literal["phases", "agent"]
    phases: tuple[PhasePlan, ...]
    roles: dict[str, RolePlan] = field(default_factory=dict)
    preconditions: tuple[str, ...] = ()
    acceptance: tuple[Any, ...] = ()
    evidence: tuple[WantedEvidence, ...] = ()
    tools: ToolLimits = ToolLimits()
    capability_scope: ToolLimits = ToolLimits()
    credential_scope: ToolLimits = ToolLimits()
    route: str | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] | None = None
    checks_ask: bool = False  # a command of an acceptance may execute an input's value


@frozen
class FlowStarted(Event):
    """The start of a Flow. `path` is its Record in the state root. The line holds the whole plan, so that advancing the
    Flow needs no disk access."""

    kind = "flow.started"
    headline = "flow started: {playbook}@{version}"
    flow_id: str
    path: str
    playbook: str
    version: str
    digest: str
    tag: str
    commit: str | None
    inputs: dict[str, Any]
    plan: Plan
    reply_targets: tuple[Any, ...] = ()
    idempotency: Idempotency | None = None
    unattended: Literal["ask", "deny"] = "ask"  # of its runs
    observation_ids: tuple[str, ...] = ()  # its first phases get them


@frozen
class PhaseStarted(Event):
    """The start of an attempt at a phase; its run is submitted in the same group."""

    kind = "phase.started"
    flow_id: str
    phase: str
    attempt: int


@frozen
class PhaseRetried(Event):
    """A failed attempt that will be retried; recorded before the next attempt starts."""

    kind = "phase.retried"
    flow_id: str
    phase: str
    attempt: int  # the failed attempt
    reason: str


@frozen
class PhaseBlocked(Event):
    """A phase whose work ended well, but whose required evidence is missing; the Flow continues when it is attached."""

    kind = "phase.blocked"
    flow_id: str
    phase: str
    missing: tuple[str, ...]


@frozen
class PhaseEnded(Event):
    """The final result of a phase."""

    kind = "phase.ended"
    headline = "phase {status}: {phase} of {flow}"
    flow_id: str
    phase: str
    status: Literal["satisfied", "failed", "skipped"]
    reason: str | None = None


@frozen
class EvidenceAttached(Event):
    """Evidence of what was done. `ref` is the reference, `facts` describe its target when it was resolved."""

    kind = "evidence.attached"
    headline = "evidence attached: {evidence_kind} {id} of {flow}"
    spillable = ("description",)
    flow_id: str
    evidence_id: str
    evidence_kind: EvidenceKind
    id: str
    ref: str | None
    phase: str | None = None
    description: Text = ""
    facts: dict[str, Any] = field(default_factory=dict)
    call_id: str | None = None
    idempotency: Idempotency | None = None


@frozen
class FlowCancelRequested(Event):
    kind = "flow.cancel_requested"
    flow_id: str
    reason: str | None = None


@frozen
class FlowSealed(Event):
    """The first final status of a Flow; later events do not change it."""

    kind = "flow.sealed"
    headline = "flow {status}: {flow}"
    flow_id: str
    status: Literal["succeeded", "failed", "cancelled"]
    reason: str | None = None
