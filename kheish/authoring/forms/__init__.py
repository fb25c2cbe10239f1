"""The files under `pending/`, one module for each noun that users answer there; `FORMS` has the only list of them."""

from __future__ import annotations

from collections.abc import Mapping

from kheish.authoring.forms import (
    approvals,
    memory,
    questions,
)
from kheish.authoring.forms.form import PendingForm

FORMS: Mapping[str, PendingForm] = {
    form.name: form
    for form in (
        approvals.FORM,
        questions.FORM,
        memory.FORM,
    )
}
