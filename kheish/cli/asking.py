"""Prompts for pending approvals and questions on the terminal."""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.output import counted, paint, plain, say
from kheish.cli.rendering import Rendering, diff_lines
from kheish.errors import ApprovalResolved, Invalid, PersonRequired, QuestionResolved, SamePerson

if TYPE_CHECKING:
    from kheish.client import Kheish, Run
    from kheish.client.shapes import Answer, Approval, Asked, Question


#: arguments that the diff of a call already shows
_TEXTS = frozenset({"old_string", "new_string", "content", "patch"})
#: fields of an approval that `show_approval` prints
SHOWN = frozenset({"tool", "arguments", "why", "risk", "files", "preview", "remember"})
#: seconds within which more input follows a line if the text was pasted
_PASTE_SECONDS = 0.05


def can_ask() -> bool:
    """Return whether both stdin and stdout are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def fresh_prompt(text: str, **options: Any) -> Any:
    """Prompt for an answer that was typed after the question was shown.

    Text already in the terminal's buffer is discarded. A line followed at once by more input (a paste) is rejected, and
    the prompt is repeated.
    """
    while True:
        _drop_typed()
        answer = click.prompt(text, **options)
        if not _is_more_typed():
            return answer
        say("(ignored: several lines arrived at once; please type the answer)")


def _drop_typed() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _is_more_typed() -> bool:
    try:
        return bool(select.select([sys.stdin], [], [], _PASTE_SECONDS)[0])
    except (OSError, ValueError):
        return False


def approval(client: Kheish, asked: Approval) -> bool:
    """Prompt for one approval and send the decision; return False if the user postpones it."""
    show_approval(asked)
    choice = fresh_prompt(
        "Allow this call? [y]es, [n]o, [l]ater", type=click.Choice(["y", "n", "l"]), show_choices=False
    )
    if choice == "l":
        return False
    reason = fresh_prompt("Why not? (the model reads it)", default="", show_default=False) if choice == "n" else None
    try:
        client.approvals.resolve(asked["approval_id"], "allow" if choice == "y" else "deny", reason=reason or None)
    except ApprovalResolved as late:
        say(plain(f"  {late.detail}"))
    except (PersonRequired, SamePerson) as other:  # another user has to decide
        say(plain(f"  {other.detail}"))
        return False
    return True


def attend(client: Kheish, run: Run, rendering: Rendering) -> None:
    """Prompt for each approval and question that a run waits for. Raise click.Abort if the user postpones one."""
    approvals, questions = run.waits_for
    for one in approvals:
        wanted = client.approvals.get(one)
        if wanted["status"] == "pending":
            preview = wanted.get("preview")
            rendering.asked(one, preview["diff"] if preview else None)
            if not approval(client, wanted):
                raise click.Abort
    for one in questions:
        asked = client.questions.get(one)
        if asked["status"] == "pending":
            rendering.asked(one)
            question(client, asked)


def show_approval(asked: Approval) -> None:
    """Print a call in full: the user must see all of what is allowed."""
    say(paint(f"{asked['tool']} needs approval", bold=True) + plain(f"  ({asked['risk']} risk; {asked['why']})"))
    for name, value in _shown_arguments(asked).items():
        _argument(name, value)
    for file in asked.get("files") or ():
        size = counted(file["bytes"], "byte")
        say(plain(f"  reads {file['path']}  ({size}, sha256 {(file['sha256'] or 'not read')[:12]})"))
    if tool := asked.get("came_from", {}).get("tainted_by"):
        say(paint(f"  this conversation contains content from the network ({plain(tool)})", fg="yellow"))
    for how, rule in asked.get("remember", {}).items():
        if rule is not None:
            say(plain(f"  --remember {how}: {rule['reason']}"))


def _shown_arguments(asked: Approval) -> Mapping[str, object]:
    """Return the arguments for display, with the texts of an edit replaced by its diff."""
    given = asked["arguments"]
    preview = asked.get("preview")
    if preview is not None and preview["is_whole"]:
        rest = {name: value for name, value in given.items() if name not in _TEXTS}
        return {**rest, "diff": preview["diff"] or "(no line changes)"}
    old, new = given.get("old_string"), given.get("new_string")
    if not (isinstance(old, str) and isinstance(new, str)):
        return given
    from difflib import unified_diff

    lines = unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=max(old.count("\n"), new.count("\n")) + 1)
    rest = {name: value for name, value in given.items() if name not in ("old_string", "new_string")}
    return {**rest, "diff": "\n".join(list(lines)[2:]) or "(no line changes)"}


def _argument(name: str, value: object) -> None:
    text = plain(value)
    if name in ("diff", "patch"):
        say(f"  {name}:")
        for line, style in diff_lines(text, at_most=sys.maxsize):
            say(paint("  " + line, **style))
    elif "\n" in text:
        say(f"  {name}:\n" + "\n".join("    " + line for line in text.split("\n")))
    else:
        say(f"  {plain(name)}: {text}")


def question(client: Kheish, asked: Question) -> None:
    """Prompt for each question and send all answers. Raise click.Abort if the user leaves."""
    answers: dict[str, Answer] = {}
    for one in asked["questions"]:
        show_question(one)
        answers[one["id"]] = _prompt(one)
    try:
        client.questions.answer(asked["question_id"], answers)
    except QuestionResolved as late:
        say(plain(f"  {late.detail}"))


def show_question(asked: Asked) -> None:
    """Print one question with numbered options."""
    say(paint(plain(asked["text"]), bold=True))
    for number, option in enumerate(asked["options"], 1):
        about = f"  {option.get('description')}" if option.get("description") else ""
        say(plain(f"  {number}. {option['label']}{about}"))


def _prompt(asked: Asked) -> Answer:
    how = "numbers, separated by commas" if asked["multi_select"] else "number"
    free = ", or free text" if asked["free_text"] else ""
    while True:
        said = fresh_prompt(f"Answer ({how}{free})", type=str)
        try:
            return choose(asked, said)
        except Invalid as error:
            say(plain(error.detail))


def choose(asked: Asked, said: str) -> Answer:
    """Return the answer for the input: options by id, label or number (separated by commas), else free text.

    Raise Invalid, which lists the options.
    """
    whole = _option(asked["options"], said)
    words = [word for word in said.split(",") if word.strip()] if asked["multi_select"] and not whole else [said]
    chosen = [_option(asked["options"], word) for word in words]
    if chosen and all(chosen):
        return {"selected": [one for one in chosen if one], "text": None}
    if asked["free_text"]:
        return {"selected": [], "text": said}
    choices = ", ".join(f"{number} ({option['id']})" for number, option in enumerate(asked["options"], 1))
    raise Invalid(f"{said!r} is not an option of {asked['id']!r}; choose {choices}.")


def _option(options: Sequence[Mapping[str, Any]], said: str) -> str | None:
    word = said.strip()
    for number, option in enumerate(options, 1):
        if word == option["id"] or word == str(number) or word.casefold() == str(option["label"]).casefold():
            return str(option["id"])
    return None
