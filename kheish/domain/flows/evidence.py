"""Evidence of a Flow: matching it to the Playbook's requests, and attaching it. `references` resolves its target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kheish.domain import events, keys
from kheish.domain.events import Draft, changed, frozen
from kheish.domain.events.flows import EvidenceKind, WantedEvidence
from kheish.domain.flows import advance as flow_driving, status as flow_status
from kheish.domain.flows.flow import Evidence, Flow
from kheish.domain.keys import Key
from kheish.errors import Fault, Invalid

if TYPE_CHECKING:
    from kheish.state.state import State

ATTESTATION = "attestation"


@frozen
class Given:
    """Evidence as given: `id` names a requested item of the Playbook, or is the reference itself."""

    kind: EvidenceKind
    id: str
    ref: str | None = None
    phase: str | None = None
    description: str = ""


@frozen
class Attached:
    """The origin of attached evidence: its author, its place, and the facts about its target."""

    by: str
    facts: dict[str, Any]
    evidence_id: str
    run_id: str | None = None
    call_id: str | None = None
    key: Key | None = None


def placed(flow: Flow, given: Given, *, phase: str | None = None) -> Given:
    """Return the evidence with phase, name and reference filled in; `phase` is the default phase.

    The kind follows from the name; without a name, the evidence is for the single missing item of its kind. Raises
    Invalid for an unknown phase, FlowStateConflict if the Flow is sealed.
    """
    if flow.is_final:
        raise flow_driving.ended(flow.flow_id, str(flow.sealed))
    _check_phase(flow, given.phase)
    if not given.id and not given.ref:
        raise Invalid("Evidence needs an id.", errors=[Fault("/id", "is empty")])
    candidates = [one for one in _wanted(flow) if one[1].kind == given.kind and given.phase in (None, one[0])]
    named = [one for one in candidates if one[1].id in (given.id, given.ref)]
    here = [one for one in named or _lacking(flow, candidates) if phase is None or one[0] == phase] or named
    if len(here) != 1 and not named:
        return changed(given, phase=given.phase or phase, ref=given.ref or _reference(given))
    at, want = here[0]
    ref = given.ref or (given.id if given.id != want.id or given.kind != ATTESTATION else None)
    return changed(given, phase=given.phase or at, id=want.id, ref=ref)


def _reference(given: Given) -> str | None:
    return None if given.kind == ATTESTATION else given.id


def _check_phase(flow: Flow, phase: str | None) -> None:
    known = [one.phase_id for one in flow.plan.phases]
    if phase is not None and phase not in known:
        raise Invalid(
            f"The Flow has no phase {phase!r}; it has {', '.join(known) or 'none'}.",
            errors=[Fault("/phase", f"unknown phase {phase!r}")],
        )


def _wanted(flow: Flow) -> Iterator[tuple[str | None, WantedEvidence]]:
    for plan in flow.plan.phases:
        yield from ((plan.phase_id, one) for one in plan.evidence)
    yield from ((None, one) for one in flow.plan.evidence)


def _lacking(flow: Flow, wanted: list[tuple[str | None, WantedEvidence]]) -> list[tuple[str | None, WantedEvidence]]:
    """Return the requested items that no evidence shows yet."""
    return [
        (phase, want)
        for phase, want in wanted
        if not any(flow_status.shows(want, one) for one in flow.evidence if phase is None or one.phase == phase)
    ]


def attaching(flow: Flow, given: Given, how: Attached) -> Draft:
    """Return the draft that attaches placed evidence. Raises FlowStateConflict."""
    if flow.is_final:
        raise flow_driving.ended(flow.flow_id, str(flow.sealed))
    attached = events.EvidenceAttached(
        flow_id=flow.flow_id,
        evidence_id=how.evidence_id,
        evidence_kind=given.kind,
        id=given.id,
        ref=given.ref,
        phase=given.phase,
        description=given.description,
        facts=how.facts,
        call_id=how.call_id,
        idempotency=keys.sent(how.key),
    )
    return attached.on(flow.session_id, how.run_id, by=how.by)


def attach(state: State, flow_id: str, given: Given, how: Attached) -> Evidence:
    """Attach evidence. Raises FlowStateConflict."""
    state.append(attaching(state.get(Flow, flow_id), given, how))
    flow = state.get(Flow, flow_id)
    return next(one for one in flow.evidence if one.evidence_id == how.evidence_id)
