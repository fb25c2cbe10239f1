"""The file of a pending approval: `decision: allow | deny`, `reason:`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from kheish.authoring.forms.form import BY, Form, PendingForm, Resolve, read_text
from kheish.domain import approvals
from kheish.store.edits import problems as words

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
    asked=("approval_id", "session_id", "run_id", "tool", "arguments", "preview", "why", "requested_at"),
    optional=frozenset({"preview"}),
    mine=("decision", "reason"),
    blank=lambda _: _BLANK,
    fill=_fill,
    late=approvals.late,
)
