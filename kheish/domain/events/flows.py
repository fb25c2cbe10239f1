"""Events of Flows: started, what became of each phase, evidence, a cancel, and the seal."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.domain.events.runs import Idempotency
from kheish.state.event import Event, Text, frozen

Approval = Literal["none", "before", "after"]
EvidenceKind = Literal[
    "run", "tool_call", "task", "approval", "question", "output", "asset", "commit", "file", "agent", "attestation"
]


@frozen
class WantedEvidence:
    """Evidence that a Playbook asks for, of a phase or of the whole."""

    kind: str
    id: str
    description: str = ""
    required: bool = True


@frozen
class ToolLimits:
    """What a Playbook or a phase leaves of the tools; `allow` None: all."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@frozen
class PhasePlan:
    """A phase as the Flow froze it, with the inputs filled in. `timeout` in seconds."""

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


@frozen
class RolePlan:
    """Who works on a phase: the purpose, the route, and the persona's snapshot as of the start."""

    purpose: str = ""
    route: str | None = None
    persona: dict[str, Any] | None = None


@frozen
class Plan:
    """What the Flow froze of its Playbook version, with the inputs filled in."""

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
    checks_ask: bool = False  # a command of an acceptance may run what was given as an input


@frozen
class FlowStarted(Event):
    """`path` is its Record in the state root. The plan is whole in the line: what drives must not wait for the disk."""

    kind = "flow.started"
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


@frozen
class PhaseStarted(Event):
    """An attempt at a phase begins; its run is submitted in the same group."""

    kind = "phase.started"
    flow_id: str
    phase: str
    attempt: int


@frozen
class PhaseRetried(Event):
    """An attempt has failed, and there is another: said before it starts."""

    kind = "phase.retried"
    flow_id: str
    phase: str
    attempt: int  # the one that failed
    reason: str


@frozen
class PhaseBlocked(Event):
    """The work of a phase ended well, but required evidence is missing; attaching it goes on."""

    kind = "phase.blocked"
    flow_id: str
    phase: str
    missing: tuple[str, ...]


@frozen
class PhaseEnded(Event):
    """What became of a phase, once and for good."""

    kind = "phase.ended"
    flow_id: str
    phase: str
    status: Literal["satisfied", "failed", "skipped"]
    reason: str | None = None


@frozen
class EvidenceAttached(Event):
    """Something that shows what was done. `ref` is what it refers to, `facts` what that was when it was looked up."""

    kind = "evidence.attached"
    spillable = ("description",)
    flow_id: str
    evidence_id: str
    evidence_kind: str
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
    """The first final status of a Flow; nothing changes it afterwards."""

    kind = "flow.sealed"
    flow_id: str
    status: Literal["succeeded", "failed", "cancelled"]
    reason: str | None = None
