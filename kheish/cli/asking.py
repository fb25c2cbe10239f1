"""Prompts for pending approvals and questions on the terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.output import counted, paint, plain, say
from kheish.cli.rendering import Rendering, diff_lines
from kheish.errors import ApprovalResolved, Invalid, PersonRequired, QuestionResolved, SamePerson
from kheish.texts import is_number

if TYPE_CHECKING:
    from kheish.client import Kheish, Run
    from kheish.client.shapes import Answer, Approval, Asked, Question


#: arguments that the diff of a call already shows
_TEXTS = frozenset({"old_string", "new_string", "content", "patch"})
#: fields of an approval that `show_approval` prints
SHOWN = frozenset({"tool", "arguments", "why", "risk", "files", "preview", "remember"})
#: what an answer adds to the session's rules, by its key
REMEMBERED = {"a": "exact", "p": "pattern"}
_LABELS = {"a": "always this", "p": "always like this"}
#: the answer to a question that leaves it for later
LATER = "l"
#: makes text of an answer that has another meaning: `=l`, `=9`
_AS_TEXT = "="
#: seconds within which more input follows a line if the text was pasted
_PASTE_SECONDS = 0.05


def can_ask() -> bool:
    """Return whether both stdin and stdout are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def can_draw() -> bool:
    """Return whether the terminal shows a line editor; not with NO_COLOR or KHEISH_PLAIN, nor for a screen reader."""
    has_none = (os.environ.get("NO_COLOR"), os.environ.get("KHEISH_PLAIN"))
    return can_ask() and not any(has_none) and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def fresh_prompt(text: str, **options: Any) -> Any:
    """Prompt for an answer that was typed after the question was shown.

    Text already in the terminal's buffer is discarded. A line followed at once by more input (a paste) is rejected, and
    the prompt is repeated.
    """
    while True:
        drop_typed()
        answer = click.prompt(text, **options)
        if not _is_more_typed():
            return answer
        say("(ignored: several lines arrived at once; please type the answer)")


def confirm(question: str, lines: Sequence[str]) -> None:
    """Show on stderr what is about to run, and let the user confirm it after reading it.

    As with `fresh_prompt`, text that was typed before or pasted confirms nothing. Raises Invalid without a terminal,
    click.Abort for a no.
    """
    for line in lines:
        click.echo(plain(line), err=True)
    if not sys.stdin.isatty():
        raise Invalid("There is no terminal for a prompt; read the above, then pass --yes.")
    while True:
        drop_typed()
        is_confirmed = click.confirm(question, err=True)
        if not _is_more_typed():
            break
        click.echo("(ignored: several lines arrived at once; please type the answer)", err=True)
    if not is_confirmed:
        raise click.Abort


def drop_typed() -> None:
    """Discard what was typed before now and not read yet."""
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
    show_call(asked)
    rules = rules_of(asked)
    for line in rules.values():
        say(plain(line))
    choice = fresh_prompt(
        f"Allow this call? [y]es, [n]o, [l]ater{always(rules)}",
        type=click.Choice(["y", "n", "l", *rules]),
        show_choices=False,
    )
    if choice == "l":
        return False
    reason = fresh_prompt("Why not? (the model reads it)", default="", show_default=False) if choice == "n" else None
    try:
        client.approvals.resolve(
            asked["approval_id"],
            "deny" if choice == "n" else "allow",
            reason=reason or None,
            remember=REMEMBERED.get(choice),
        )
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
            if not question(client, asked):
                raise click.Abort


def rules_of(asked: Approval) -> dict[str, str]:
    """Return the rules that an answer may add, each in one line, by the key of the answer."""
    offered = asked.get("remember") or {}
    rules = {key: offered[how] for key, how in REMEMBERED.items() if offered.get(how)}
    return {key: f"  {key}  {_LABELS[key]}: {_rule(rule)}" for key, rule in rules.items()}


def always(keys: Iterable[str]) -> str:
    """Return the part of the prompt that offers these rules."""
    shown = " or ".join(f"[{key}]" for key in keys)
    return f", {shown} always" if shown else ""


def _rule(rule: Mapping[str, Any]) -> str:
    """Return a rule in one line."""
    if rule.get("exact"):
        return f"{rule['decision']} {rule['tool']} with exactly these arguments, in this session"
    match = f" {rule['match']}" if rule.get("match") else ""
    reason = f" ({rule['reason']})" if rule.get("reason") else ""
    return f"{rule['decision']} {rule['tool']}{match}{reason}, in this session"


def show_approval(asked: Approval) -> None:
    """Print a call in full, and the rules that its answer may add."""
    show_call(asked)
    for how, rule in asked.get("remember", {}).items():
        if rule is not None:
            say(plain(f"  --remember {how}: {rule['reason']}"))


def show_call(asked: Approval) -> None:
    """Print a call in full: the user must see all of what is allowed."""
    say(paint(f"{asked['tool']} needs approval", bold=True) + plain(f"  ({asked['risk']} risk; {asked['why']})"))
    for name, value in _shown_arguments(asked).items():
        _argument(name, value)
    for file in asked.get("files") or ():
        size = counted(file["bytes"], "byte")
        say(plain(f"  reads {file['path']}  ({size}, sha256 {(file['sha256'] or 'not read')[:12]})"))
    if tool := asked.get("came_from", {}).get("tainted_by"):
        say(paint(f"  this conversation contains content from the network ({plain(tool)})", fg="yellow"))


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


def question(client: Kheish, asked: Question) -> bool:
    """Prompt for each question and send all answers; return False if the user postpones one.

    Raise click.Abort if the user leaves.
    """
    answers: dict[str, Answer] = {}
    for one in asked["questions"]:
        show_question(one)
        answer = _prompt(one)
        if answer is None:
            return False
        answers[one["id"]] = answer
    try:
        client.questions.answer(asked["question_id"], answers)
    except QuestionResolved as late:
        say(plain(f"  {late.detail}"))
    return True


def show_question(asked: Asked) -> None:
    """Print one question with numbered options."""
    say(paint(plain(asked["text"]), bold=True))
    for number, option in enumerate(asked["options"], 1):
        about = f"  {option.get('description')}" if option.get("description") else ""
        say(plain(f"  {number}. {option['label']}{about}"))


def prompt_of(asked: Asked) -> str:
    """Return the prompt for an answer."""
    how = "numbers, separated by commas" if asked["multi_select"] else "number"
    free = ", or free text" if asked["free_text"] else ""
    return f"Answer ({how}{free}; [l]ater)"


def postpones(said: str) -> bool:
    """Return whether an answer to a prompt leaves the question for later."""
    return said.strip().casefold() == LATER


def _prompt(asked: Asked) -> Answer | None:
    while True:
        said = fresh_prompt(prompt_of(asked), type=str)
        if postpones(said):
            return None
        try:
            return choose(asked, said)
        except Invalid as error:
            say(plain(error.detail))


def choose(asked: Asked, said: str, *, as_text: str | None = None) -> Answer:
    """Return the answer for the input: options by id, label or number (separated by commas), else free text.

    A number that is no option is not taken for text, for an answer cannot be taken back. `=` before an answer that
    would mean something else makes text of it. Raise Invalid, which lists the options; `as_text` is another way to
    send the input as text.
    """
    if asked["free_text"] and said.startswith(_AS_TEXT) and _means(asked, said.lstrip(_AS_TEXT)):
        return {"selected": [], "text": said.removeprefix(_AS_TEXT)}
    whole = _option(asked["options"], said)
    words = [word for word in said.split(",") if word.strip()] if asked["multi_select"] and not whole else [said]
    chosen = [_option(asked["options"], word) for word in words]
    if chosen and all(chosen):
        return {"selected": [one for one in chosen if one], "text": None}
    is_text = asked["free_text"]
    is_mistyped = bool(asked["options"]) and all(
        one or _is_number(word) for word, one in zip(words, chosen, strict=True)
    )
    if is_text and not is_mistyped:
        return {"selected": [], "text": said}
    choices = ", ".join(f"{number} ({option['id']})" for number, option in enumerate(asked["options"], 1))
    text = f"; to send it as text, write {as_text or _AS_TEXT + said.strip()}" if is_text else ""
    raise Invalid(f"{said!r} is not an option of {asked['id']!r}; choose {choices}{text}.")


def _means(asked: Asked, said: str) -> bool:
    """Return whether an answer is no text by itself."""
    words = said.split(",") if asked["multi_select"] else [said]
    return postpones(said) or all(_is_number(word) or _option(asked["options"], word) for word in words)


def _is_number(word: str) -> bool:
    return is_number(word.strip().lstrip("+-"))


def _option(options: Sequence[Mapping[str, Any]], said: str) -> str | None:
    word = said.strip()
    for number, option in enumerate(options, 1):
        if word == option["id"] or word == str(number) or word.casefold() == str(option["label"]).casefold():
            return str(option["id"])
    return None
