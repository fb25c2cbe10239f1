"""`kheish inbox`: all pending approvals and questions, with prompts on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from kheish.cli import asking
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit, plain, say, shorten, table
from kheish.cli.rendering import short_call

if TYPE_CHECKING:
    from kheish.client.shapes import Approval, Question


@command()
@click.option("--list", "only_list", is_flag=True, help="Only list them, without prompts.")
@pass_settings
def inbox(settings: Settings, only_list: bool) -> None:
    """List pending approvals and questions; on a terminal, as a list from which they are opened and answered."""
    client = settings.client()
    approvals = client.approvals.list(status="pending", limit=200)["items"]
    questions = client.questions.list(status="pending", limit=200)["items"]
    ids = [one["approval_id"] for one in approvals] + [one["question_id"] for one in questions]

    def human() -> None:
        if not ids:
            say("Nothing waits for you.")
        elif only_list or not asking.can_ask():
            table(_rows(approvals, questions), [(name.upper(), name) for name in ("id", "session", "what")])
        elif asking.can_draw():
            from kheish.cli.terminal import inbox as full_screen

            full_screen.run(client)
        else:
            for approval in reversed(approvals):
                say(plain(f"Session {approval['session_id']}"))
                asking.approval(client, approval)
            for question in reversed(questions):
                say(plain(f"Session {question['session_id']}"))
                asking.question(client, question)

    emit(settings, {"approvals": approvals, "questions": questions}, ids=ids, human=human)


def _rows(approvals: Sequence[Approval], questions: Sequence[Question]) -> list[dict[str, str]]:
    return [{"id": one["approval_id"], "session": one["session_id"], "what": short_call(one)} for one in approvals] + [
        {
            "id": one["question_id"],
            "session": one["session_id"],
            "what": "; ".join(shorten(each["text"], 80) for each in one["questions"]),
        }
        for one in questions
    ]
