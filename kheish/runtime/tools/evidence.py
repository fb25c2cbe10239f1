"""The tool `attach_evidence`: the agent of a Flow attaches evidence of its work."""

from __future__ import annotations

from pydantic import Field

from kheish.beneath import pool
from kheish.domain import references
from kheish.domain.events.flows import EvidenceKind
from kheish.domain.flows import evidence as flow_evidence
from kheish.domain.flows.evidence import Attached, Given
from kheish.domain.flows.flow import Flow
from kheish.domain.runs import Run
from kheish.errors import KheishError
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.interact import derived


class AttachEvidence(Arguments):
    kind: EvidenceKind = Field(
        description="What it is; it must be what the Playbook asks for. An attestation is a person's, not yours."
    )
    id: str = Field(min_length=1, max_length=500, description="Its name in the Playbook's list of evidence.")
    ref: str | None = Field(
        None,
        min_length=1,
        max_length=4096,
        description="What it refers to: of a file the path in the workspace, of a commit, run, output … its id. "
        "Without it, `id` is that.",
    )
    description: str = Field("", max_length=4000, description="What it shows, for people who read it in a year.")
    phase: str | None = Field(None, max_length=128, description="The phase, where it is not the one you work on.")


async def _attach(arguments: AttachEvidence, context: Context) -> Result:
    state = context.state
    run = state.get(Run, context.run_id)
    if not run.flow:
        raise ToolError("This run belongs to no Flow, so that there is nothing to attach evidence to.")
    if arguments.kind == flow_evidence.ATTESTATION:
        raise ToolError("An attestation is the word of a named person: only a person can attach it.")
    flow = state.get(Flow, run.flow["flow_id"])
    given = Given(**arguments.model_dump())
    place = references.Place(index=state.index, root=state.root, session_id=context.session_id, workspace=context.door)
    try:
        given = flow_evidence.placed(flow, given, phase=run.flow["phase"])
        await state.durable()  # the run's latest actions count
        await state.caught_up()
        facts = await pool.run(context.door, references.resolve, place, given.kind, given.ref)
        how = Attached(
            by=f"agent:{context.agent_id}",
            facts=facts,
            evidence_id=derived("evid", context.key),
            run_id=context.run_id,
            call_id=context.call_id,
        )
        draft = flow_evidence.attaching(state.get(Flow, flow.flow_id), given, how)
    except KheishError as error:
        raise ToolError(error.detail) from error
    detail = {"evidence_id": how.evidence_id, "phase": given.phase, "facts": facts}
    return Result(content=f"Attached {given.kind} {given.id}.", detail=detail, drafts=(draft,))


TOOLS = (
    Tool(
        name="attach_evidence",
        description=(
            "Attach evidence to the Flow that you carry out: a file, commit, output, run, tool call … that shows "
            "that a phase of the Playbook was done. The reference is looked up, and refused where it leads nowhere."
        ),
        arguments=AttachEvidence,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_attach,
    ),
)
