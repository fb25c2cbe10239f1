"""The files under `pending/`, as the daemon writes them."""

from __future__ import annotations

from kheish.authoring.forms import FORMS
from kheish.domain.nouns import NOUNS
from kheish.store.log import records


def test_a_noun_that_users_answer_in_a_file_has_a_form() -> None:
    assert {form.noun for form in FORMS.values()} == {noun for noun in NOUNS if noun.pending}


def test_a_pending_approval_is_written_as_specified() -> None:
    asked = {
        "approval_id": "appr_01jd",
        "session_id": "fix-it",
        "run_id": "run_01jd",
        "tool": "bash",
        "arguments": {"command": "make deploy"},
        "why": "no rule allows it (mode default)",
        "requested_at": "2026-11-22T12:00:00.123456Z",
    }
    assert FORMS["approval"].render(asked).decode() == (
        "approval_id: appr_01jd\nsession_id: fix-it\nrun_id: run_01jd\ntool: bash\n"
        "arguments:\n  command: make deploy\nwhy: no rule allows it (mode default)\n"
        "requested_at: 2026-11-22T12:00:00.123456Z\n"
        '# Write allow or deny after "decision:", and save. `reason` is optional.\n'
        "decision:\nreason:\n"
    )


def test_a_pending_question_ends_with_its_answers_to_fill_in() -> None:
    raw = records.pending_file(
        {"question_id": "q"}, FORMS["question"].blank({"questions": [{"id": "q1"}, {"id": "q2"}]})
    )

    assert raw.decode().splitlines()[-3:] == [
        "  q1:                          # an option id, a list of them, or {text: …}",
        "  q2:                          # an option id, a list of them, or {text: …}",
        "decline:                       # or a reason for not answering",
    ]
    assert records.read(raw)["answers"] == {"q1": None, "q2": None}
