"""The file of a pending approval: `decision: allow | deny`, `reason:`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from kheish.authoring.forms.form import BY, Form, Model, PendingForm, Resolve, read_text
from kheish.domain import approvals
from kheish.domain.events import Preview
from kheish.store.edits import problems as words


class PendingApproval(Model):
    """An approval that waits for a user; only fill in `decision` and `reason`."""

    approval_id: str
    session_id: str
    run_id: str
    tool: str
    arguments: dict[str, Any]
    preview: Preview | None = None
    why: str
    requested_at: str
    decision: Literal["allow", "deny"] | None = None
    """Whether the call may run."""
    reason: str | None = None
    """The reason; the agent reads it."""


_BLANK = '# Write allow or deny after "decision:", and save. `reason` is optional.\ndecision:\nreason:\n'


def _fill(form: Form, _: Mapping[str, Any]) -> Resolve | None:
    decision, reason = read_text(form, "decision"), read_text(form, "reason")
    match decision:
        case "":
            return None
        case "allow" | "deny":
            return partial(approvals.resolve, decision=decision, by=BY, via="file", reason=reason or None)
    near = words.nearest(decision, ("allow", "deny"))
    hint = f"; did you mean {near!r}?" if near else ""
    form.problems.append(form.at(("decision",), f"write allow or deny, not {decision!r}{hint}", suggestion=near))
    return None


FORM = PendingForm(
    noun=approvals.NOUN,
    model=PendingApproval,
    optional=frozenset({"preview"}),
    mine=("decision", "reason"),
    blank=lambda _: _BLANK,
    fill=_fill,
    late=approvals.late,
)
