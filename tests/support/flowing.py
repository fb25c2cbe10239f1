"""Flows in a played state: a Playbook from a mapping, started; its runs answered by hand; driven as the daemon does."""

from __future__ import annotations

from typing import Any

from kheish.domain import events, runs
from kheish.domain.flows import (
    advance as flow_driving,
    inputs as flow_inputs,
    start as flow_start,
    status as flow_status,
)
from kheish.domain.flows.flow import Flow, Part
from kheish.domain.flows.start import Source, Start
from kheish.domain.playbooks.manifest import Playbook
from tests.support.stateful import Played


def manifest(**fields: Any) -> Playbook:
    """A Playbook with these fields."""
    return Playbook.model_validate({"title": "Mend it", "objective": "It works again.", **fields})


def start(p: Played, playbook: Playbook, inputs: dict[str, Any] | None = None, **more: Any) -> Flow:
    """Start it in a session of its own; nothing is driven yet."""
    source = Source(
        playbook_id="mend", version="1.0.0", digest="d", tag="playbook/mend/1.0.0", commit="c", manifest=playbook
    )
    given = flow_inputs.complete(playbook, inputs or {})
    fields: dict[str, Any] = {"by": "token:ada", "workspace": p.root, "flow_id": "flow_1", **more}
    found = flow_start.start(p.state, Start(source=source, inputs=given, **fields))
    assert isinstance(found, Flow)
    return found


def started(p: Played, playbook: Playbook, **more: Any) -> Flow:
    """Start it, and do what is next."""
    return flow_driving.advance(p.state, start(p, playbook, **more).flow_id)


def newest(p: Played, flow_id: str = "flow_1") -> Part:
    """The Flow's newest run."""
    return next(reversed(p.state.get(Flow, flow_id).runs.values()))


def end(p: Played, *happened: events.Event, flow_id: str = "flow_1") -> Flow:
    """Let the newest run start, if it has not, and let this happen to it; then do what is next."""
    part = newest(p, flow_id)
    if part.status is runs.Status.QUEUED:
        p.move(part.run_id, events.RunStarted())
    p.move(part.run_id, *happened)
    return flow_driving.advance(p.state, flow_id)


def completed(p: Played, flow_id: str = "flow_1") -> Flow:
    """The newest run ends well."""
    return end(p, events.RunCompleted(output="done"), flow_id=flow_id)


def failed(p: Played, message: str = "it broke", code: str = "broken") -> Flow:
    """The newest run fails."""
    return end(p, events.RunFailed(error=events.RunError(code=code, message=message)))


def attached(p: Played, kind: str, id: str, phase: str | None = None) -> Flow:
    """Evidence that resolves is attached; then do what is next."""
    event = events.EvidenceAttached(
        flow_id="flow_1", evidence_id=f"evid_{id}", evidence_kind=kind, id=id, ref=id, phase=phase
    )
    p.state.append(event.on(p.state.get(Flow, "flow_1").session_id, by="token:ada"))
    return flow_driving.advance(p.state, "flow_1")


def shown(flow: Flow) -> tuple[str, dict[str, str]]:
    """The status, and those of the phases."""
    return str(flow_status.status(flow)), {id: str(one) for id, one in flow_status.phase_statuses(flow).items()}
