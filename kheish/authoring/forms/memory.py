"""The file of a pending proposal of memory: `decision: accept | reject`, `reason:`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kheish.authoring.forms.form import Form, Model, PendingForm, Resolve, read_text
from kheish.domain.events.memory import Operation
from kheish.domain.memory import proposals
from kheish.domain.memory.proposals import Decision
from kheish.store.edits import problems as words

_BLANK = '# Write accept or reject after "decision:", and save. `reason` is optional.\ndecision:\nreason:\n'
_CUT = "# The diff is cut; kheish memory proposals {id} shows all of it.\n"


class PendingProposal(Model):
    """A proposed change of memory that waits for a user; only fill in `decision` and `reason`."""

    proposal_id: str
    session_id: str
    run_id: str | None
    by: str
    path: str
    operation: Operation
    new_path: str | None
    diff: str
    is_whole: bool
    """Whether `diff` is complete."""
    tainted_by: str | None
    status: Literal["pending"]
    at: str
    decision: Decision | None = None
    """Whether the change is made."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """A decision on a proposal. Accepting changes a file, so that its reader awaits it."""

    decision: Decision
    reason: str | None


def _blank(document: Mapping[str, Any]) -> str:
    cut = "" if document["is_whole"] else _CUT.format(id=document["proposal_id"])
    return cut + _BLANK


def _fill(form: Form, _: Mapping[str, Any]) -> Resolve | None:
    decision, reason = read_text(form, "decision"), read_text(form, "reason")
    match decision:
        case "":
            return None
        case "accept" | "reject":
            review = Review(decision, reason or None)
            return lambda state, id: review
    near = words.nearest(decision, ("accept", "reject"))
    hint = f"; did you mean {near!r}?" if near else ""
    form.problems.append(form.at(("decision",), f"write accept or reject, not {decision!r}{hint}", suggestion=near))
    return None


FORM = PendingForm(
    noun=proposals.NOUN,
    model=PendingProposal,
    mine=("decision", "reason"),
    blank=_blank,
    fill=_fill,
    late=proposals.late,
)
