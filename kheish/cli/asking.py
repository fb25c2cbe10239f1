"""Approvals and questions in place: show what is asked, take the answer from the terminal, send it."""

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


#: arguments that the diff of a call says as well
_TEXTS = frozenset({"old_string", "new_string", "content", "patch"})
#: what `show_approval` shows of an approval
SHOWN = frozenset({"tool", "arguments", "why", "risk", "files", "preview", "remember"})
#: how soon after a line more comes, where it was pasted and not typed
_PASTE_SECONDS = 0.05


def can_ask() -> bool:
    """True where a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def fresh_prompt(text: str, **options: Any) -> Any:
    """Prompt for an answer that was typed after the question was shown.

    What stands in the terminal's buffer before it, and a line that comes with more behind it (a paste), answers
    nothing: it is dropped, and the question is asked again.
    """
    while True:
        _drop_typed()
        answer = click.prompt(text, **options)
        if not _is_more_typed():
            return answer
        say("(several lines came at once, which answers nothing; please type the answer)")


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
    """Ask for one approval and send the user's decision; False where it is put off."""
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
    except (PersonRequired, SamePerson) as other:  # it waits for somebody else
        say(plain(f"  {other.detail}"))
        return False
    return True


def attend(client: Kheish, run: Run, rendering: Rendering) -> None:
    """Ask all that a run waits for, one after the other. Raises click.Abort where an approval is put off."""
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
    """Show a call in full, nothing cut: what is allowed is what was seen."""
    say(paint(f"{asked['tool']} wants approval", bold=True) + plain(f"  ({asked['risk']} risk; {asked['why']})"))
    for name, value in _shown_arguments(asked).items():
        _argument(name, value)
    for file in asked.get("files") or ():
        size = counted(file["bytes"], "byte")
        say(plain(f"  reads {file['path']}  ({size}, sha256 {(file['sha256'] or 'not read')[:12]})"))
    if tool := asked.get("came_from", {}).get("tainted_by"):
        say(paint(f"  content of the network came into this conversation before ({plain(tool)})", fg="yellow"))
    for how, rule in asked.get("remember", {}).items():
        if rule is not None:
            say(plain(f"  --remember {how}: {rule['reason']}"))


def _shown_arguments(asked: Approval) -> Mapping[str, object]:
    """Return the arguments as a user reads them: in place of the texts of an edit, the diff that it makes."""
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
    """Ask the questions one after another and send all answers. Raises click.Abort where the person leaves."""
    answers: dict[str, Answer] = {}
    for one in asked["questions"]:
        show_question(one)
        answers[one["id"]] = _prompt(one)
    try:
        client.questions.answer(asked["question_id"], answers)
    except QuestionResolved as late:
        say(plain(f"  {late.detail}"))


def show_question(asked: Asked) -> None:
    """Show one question with its options, numbered."""
    say(paint(plain(asked["text"]), bold=True))
    for number, option in enumerate(asked["options"], 1):
        about = f"  {option.get('description')}" if option.get("description") else ""
        say(plain(f"  {number}. {option['label']}{about}"))


def _prompt(asked: Asked) -> Answer:
    how = "numbers, with commas" if asked["multi_select"] else "number"
    free = ", or your own words" if asked["free_text"] else ""
    while True:
        said = fresh_prompt(f"Answer ({how}{free})", type=str)
        try:
            return choose(asked, said)
        except Invalid as error:
            say(plain(error.detail))


def choose(asked: Asked, said: str) -> Answer:
    """What the words stand for: options by id, label or number (several with commas), else free text.

    Raises Invalid, naming the options.
    """
    whole = _option(asked["options"], said)
    words = [word for word in said.split(",") if word.strip()] if asked["multi_select"] and not whole else [said]
    chosen = [_option(asked["options"], word) for word in words]
    if chosen and all(chosen):
        return {"selected": [one for one in chosen if one], "text": None}
    if asked["free_text"]:
        return {"selected": [], "text": said}
    choices = ", ".join(f"{number} ({option['id']})" for number, option in enumerate(asked["options"], 1))
    raise Invalid(f"{said!r} is none of the options of {asked['id']!r}: choose {choices}.")


def _option(options: Sequence[Mapping[str, Any]], said: str) -> str | None:
    word = said.strip()
    for number, option in enumerate(options, 1):
        if word == option["id"] or word == str(number) or word.casefold() == str(option["label"]).casefold():
            return str(option["id"])
    return None
