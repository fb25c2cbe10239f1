"""Evidence for a release: each reference must resolve. A person's attestation is enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kheish.beneath import Door, Hidden, pool
from kheish.domain import references
from kheish.domain.events import changed
from kheish.domain.events.playbooks import EvidenceRef
from kheish.domain.playbooks.manifest import EVIDENCE_KINDS
from kheish.domain.references import Place
from kheish.errors import EvidenceUnresolved, Fault
from kheish.state.state import State
from kheish.store.edits.problems import nearest
from kheish.texts import is_blank

_PRIVATE = (".git", ".kheish", "secrets")


async def resolve(state: State, given: Sequence[EvidenceRef], *, by: str) -> tuple[EvidenceRef, ...]:
    """Return the references with their author and the resolved objects.

    Raises EvidenceUnresolved, with a fault for each dangling reference.
    """
    await state.caught_up()
    references, faults = [], []
    for at, one in enumerate(given):
        try:
            facts = await pool.run(Door(state.root), _facts, state, one)
        except EvidenceUnresolved as error:
            faults.append(Fault(f"/evidence/{at}", error.detail))
        else:
            references.append(changed(one, by=by, facts=facts))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise EvidenceUnresolved(f"{faults[0].message}{more}", errors=faults)
    return tuple(references)


def _facts(state: State, one: EvidenceRef) -> dict[str, Any]:
    if one.kind not in EVIDENCE_KINDS:
        near = nearest(one.kind, EVIDENCE_KINDS)
        hint = f"did you mean {near!r}?" if near else f"there is {', '.join(EVIDENCE_KINDS)}."
        raise references.unresolved(f"There is no evidence of the kind {one.kind!r}; {hint}")
    if one.kind == "attestation":
        if is_blank(one.id):
            raise references.unresolved("An attestation needs the name of the person who attests.")
        return {}
    ref = one.id.rpartition("/")[2] if one.kind == "output" else one.id
    return references.resolve(_place(state, one), one.kind, ref)


def _place(state: State, one: EvidenceRef) -> Place:
    """Return where to resolve a reference. A release has no session of its own: a call or an output is resolved in the
    session of the named run, an agent in all sessions, a file in the state root.
    """
    index, session_id, workspace = state.index, None, None
    if one.kind in ("tool_call", "output"):
        run = index.thing("run", one.id.partition("/")[0])
        session_id = run["session_id"] if run else None
        if session_id is None:
            raise references.unresolved(f"The {one.kind} {one.id!r} cannot be found; write RUN/{one.kind.upper()}.")
    elif one.kind == "agent":
        page = index.things("session", limit=1, fields={"agent_id": one.id})
        session_id = page.items[0]["session_id"] if page.items else None
    elif one.kind == "file":
        if one.id.removeprefix("./").partition("/")[0] in _PRIVATE:
            raise references.unresolved(f"{one.id!r} is not a readable file of the state root.")
        private = Hidden(tuple(state.root / name for name in _PRIVATE))
        workspace = Door(state.root, private, is_state_root=True)
    return Place(index=index, root=state.root, session_id=session_id, workspace=workspace)
