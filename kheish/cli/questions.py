"""`kheish questions`: list, show, answer, decline."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from kheish.cli import asking
from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, say, shorten, when
from kheish.errors import Invalid
from kheish.texts import answer_command

if TYPE_CHECKING:
    from kheish.client.shapes import Answer, Question

COLUMNS: list[Column] = [
    ("QUESTION", "question_id"),
    ("SESSION", "session_id"),
    ("STATUS", "status"),
    ("ASKED", lambda question: when(question["asked_at"])),
    ("TEXT", lambda question: "; ".join(shorten(one["text"], 80) for one in question["questions"])),
]
QUESTION = Id("question", "q_")
PENDING = Id("question", "q_", status="pending")


@group()
def questions() -> None:
    """List, show, answer and decline questions."""


@questions.command("list")
@click.option("--session", type=Id("session"), help="Only questions of this session.")
@click.option("--status", default="pending", show_default=True, help="Only questions with this status, or `all`.")
@page_options
@pass_settings
def list_(settings: Settings, session: str | None, status: str, limit: int | None, cursor: str | None) -> None:
    """List questions, newest first; only pending ones unless --status is given."""
    page = settings.client().questions.list(
        session=session, status=None if status == "all" else status, limit=limit, cursor=cursor
    )
    listing(
        settings,
        page,
        "question_id",
        COLUMNS,
        fitting("No pending questions.", session, None if status == "pending" else status),
    )


@questions.command()
@click.argument("question", type=QUESTION)
@pass_settings
def show(settings: Settings, question: str) -> None:
    """Show a set of questions with their options."""
    found = settings.client().questions.get(question)

    def human() -> None:
        for one in found["questions"]:
            asking.show_question(one)
        details({name: value for name, value in found.items() if name != "questions"})

    emit(settings, found, ids=[question], human=human)


@questions.command()
@click.argument("question", type=PENDING)
@click.argument("answers", nargs=-1)
@click.option("--text", "texts", multiple=True, metavar="[ID=]TEXT", help="A free-text answer.")
@pass_settings
def answer(settings: Settings, question: str, answers: tuple[str, ...], texts: tuple[str, ...]) -> None:
    """Answer all questions of a set: `q1=a q2=b,c`, or just `a` for a single question.

    Give options by id, number or label. A number that is no option is refused; --text sends it as text.
    Without answers, the command prompts on the terminal.
    """
    client = settings.client()
    asked = client.questions.get(question)
    if not answers and not texts:
        if not asking.can_ask():
            raise click.UsageError(f"Answers are missing: {answer_command(asked)}")
        asking.question(client, asked)
        answered = client.questions.get(question)
    else:
        answered = client.questions.answer(question, given(asked, answers, texts))
    emit(settings, answered, ids=[question], human=lambda: say(f"{question} is {answered['status']}."))


@questions.command()
@click.argument("question", type=PENDING)
@click.option("--reason", help="The reason, passed to the model.")
@pass_settings
def decline(settings: Settings, question: str, reason: str | None) -> None:
    """Decline to answer; the run continues, and the model sees the refusal."""
    declined = settings.client().questions.decline(question, reason)
    emit(settings, declined, ids=[question], human=lambda: say(f"{question} is {declined['status']}."))


def given(asked: Question, answers: tuple[str, ...], texts: tuple[str, ...]) -> dict[str, Answer]:
    """Return the answers by question id. Raise Invalid if an argument matches no question."""
    by_id = {one["id"]: one for one in asked["questions"]}
    found: dict[str, Answer] = {}
    for one in answers:
        name, said = _named(one, by_id)
        found[name] = asking.choose(by_id[name], said, as_text=f"--text {shlex.quote(one)}")
    for one in texts:
        name, said = _named(one, by_id)
        found.setdefault(name, {"selected": [], "text": None})["text"] = said
    return found


def _named(word: str, by_id: dict[str, Any]) -> tuple[str, str]:
    name, equals, said = word.partition("=")
    if equals and name in by_id:
        return name, said
    if len(by_id) == 1:
        return next(iter(by_id)), word
    raise Invalid(f"{word!r} matches no question: write ID=ANSWER, with {', '.join(by_id)} as the id.")
