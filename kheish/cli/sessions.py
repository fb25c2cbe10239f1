"""`kheish sessions`: list, search, show, create, update, end, interrupt, compact, fork, delete, journal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from kheish.cli.history import fork
from kheish.cli.ids import Id, Name
from kheish.cli.options import REV, Settings, group, page_options, pass_settings, worker_option
from kheish.cli.output import Column, details, emit, fitting, listing, plain, say, when
from kheish.cli.run import MODES

Command = TypeVar("Command", bound=Callable[..., Any])

COLUMNS: list[Column] = [
    ("SESSION", "session_id"),
    ("STATUS", "status"),
    ("QUEUED", "queued_runs"),
    ("CREATED", lambda session: when(session["created_at"])),
    ("WORKSPACE", "workspace"),
    ("TITLE", "title"),
]

FOUND: list[Column] = [
    ("SESSION", "session_id"),
    ("STATUS", "status"),
    ("SAID", lambda session: when(session["match"]["at"])),
    ("WHERE", lambda session: f"n:{session['match']['n']}"),
    ("MATCH", lambda session: session["match"]["snippet"]),
]
PLACES: list[Column] = [
    ("SAID", lambda place: when(place["at"])),
    ("WHERE", lambda place: f"n:{place['n']}"),
    ("WHAT", "kind"),
    ("MATCH", "snippet"),
]


#: settings that `update --reset` accepts
RESETTABLE = ["title", "workspace", "route", "persona", "permission-mode", "permission-rules", "labels", "budget",
              "input-contract", "output-contract", "while-waiting", "capability-scope", "credential-scope",
              "project"]  # fmt: skip


def _globs(option: str, about: str) -> Callable[[Command], Command]:
    """Return a repeatable option that takes a glob."""
    return click.option(f"--{option}", multiple=True, metavar="GLOB", help=about)


@group()
def sessions() -> None:
    """List, search, show, create, update, end, fork and delete sessions."""


@sessions.command("list")
@click.option("--status", type=click.Choice(["idle", "busy", "ended"]), help="Only sessions with this status.")
@page_options
@pass_settings
def list_(settings: Settings, status: str | None, limit: int | None, cursor: str | None) -> None:
    """List sessions, newest first."""
    page = settings.client().sessions.list(status=status, limit=limit, cursor=cursor)
    none = fitting('No sessions; `kheish run SESSION "task"` creates one.', status)
    listing(settings, page, "session_id", COLUMNS, none)


@sessions.command()
@click.argument("session", type=Id("session"))
@click.option("--at", metavar="REV", help=f"At this revision: {REV}.")
@pass_settings
def show(settings: Settings, session: str, at: str | None) -> None:
    """Show a session."""
    _show(settings, settings.client().sessions.get(session, at=at))


@sessions.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--session", type=Id("session"), help="Search only this session, and show every match.")
@page_options
@pass_settings
def search(
    settings: Settings, words: tuple[str, ...], session: str | None, limit: int | None, cursor: str | None
) -> None:
    """Search conversations for all WORDS; use '"a phrase"' for phrases and deplo* for prefixes."""
    client, query = settings.client().sessions, " ".join(words)
    if session is not None:
        places = client.search(session, query, limit=limit, cursor=cursor)
        return listing(settings, places, "n", PLACES, "No matches in this session.")
    found: Any = client.list(q=query, limit=limit, cursor=cursor)
    return listing(settings, found, "session_id", FOUND, "No matches.")


@sessions.command()
@click.argument("session", type=Id("session"))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_settings
def delete(settings: Settings, session: str, yes: bool) -> None:
    """Remove a session from the tree and the index. git's history keeps it, and its id is never reused."""
    if not yes and not settings.quiet and settings.output == "table" and sys.stdin.isatty():
        click.confirm(f"Delete the session {session}?", abort=True)
    gone = settings.client().sessions.delete(session)
    emit(settings, gone, ids=[session], human=lambda: say(f"{session} is deleted. {gone['remains']}"))


@sessions.command()
@click.argument("session", type=Id("session"))
@click.option("--after", type=click.IntRange(0), help="Only entries after this event number.")
@click.option("--kind", help="Only entries of this kind.")
@page_options
@pass_settings
def journal(
    settings: Settings, session: str, after: int | None, kind: str | None, limit: int | None, cursor: str | None
) -> None:
    """Print the journal of a session line by line, oldest first; for a readable form use `kheish diff SESSION`."""
    page = settings.client().sessions.journal(session, after=after, kind=kind, limit=limit, cursor=cursor)

    def human() -> None:
        for line in page["items"]:
            say(plain(json.dumps(line, ensure_ascii=False)))
        if page["next_cursor"]:
            click.echo(f"More results: --cursor {page['next_cursor']}", err=True)

    emit(settings, page, ids=[str(line["n"]) for line in page["items"]], human=human)


def _changeable(function: Command) -> Command:
    """Add the settings of a session as options."""
    for option in (
        _globs("deny-route", "Routes and slots that runs may not use."),
        _globs("allow-route", "The only routes and slots (openai.*) that runs may use."),
        _globs("deny-tool", "Tools to hide from the agent."),
        _globs("allow-tool", "The only tools (read_*) that the agent sees."),
        click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label; may be repeated."),
        click.option(
            "--while-waiting", type=click.Choice(["hold", "park"]), help="park: later runs proceed while one waits."
        ),
        click.option("--project", type=Name("projects"), help="The project that its runs work for."),
        click.option("--permission-mode", type=click.Choice(MODES), help="The decision when no rule matches."),
        click.option("--persona", help="The persona, copied in its current form."),
        click.option("--route", type=Name("routes"), help="The route to a model."),
        click.option("--workspace", metavar="DIR", help="The working folder of the agent."),
        click.option("--title", help="The display title."),
    ):
        function = option(function)
    return function


@sessions.command()
@click.argument("session", required=False, type=Id("session"))
@_changeable
@worker_option
@pass_settings
def create(settings: Settings, /, session: str | None, worker: dict[str, Any] | None, **given: Any) -> None:
    """Create a session, with a generated name by default."""
    _show(settings, settings.client().sessions.create(session, worker=worker, **_settings(given)))


@sessions.command()
@click.argument("session", type=Id("session"))
@_changeable
@click.option("--reset", multiple=True, type=click.Choice(RESETTABLE), metavar="SETTING",
              help="Reset a setting to its default, such as route or permission-rules; may be repeated.")  # fmt: skip
@pass_settings
def update(settings: Settings, /, session: str, reset: tuple[str, ...], **given: Any) -> None:
    """Change settings of SESSION for later work; given labels and scopes replace the existing ones.

    Persona and scopes can change only while the session is idle. `--reset permission-rules` discards remembered
    decisions.
    """
    fields, cleared = _settings(given), {name.replace("-", "_"): None for name in reset}
    if both := sorted(fields.keys() & cleared.keys()):
        raise click.UsageError(f"Given and reset at once: {', '.join(both)}.")
    fields |= cleared
    if not fields:
        raise click.UsageError("No settings given; see `kheish sessions update --help`.")
    _show(settings, settings.client().sessions.patch(session, **fields))


def _settings(given: dict[str, Any]) -> Any:
    """Return the given options as settings of a session."""
    lists = {name: list(given.pop(name)) for name in ("allow_tool", "deny_tool", "allow_route", "deny_route")}
    labels = given.pop("labels")
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for scope, kind in (("capability_scope", "tool"), ("credential_scope", "route")):
        if lists[f"allow_{kind}"] or lists[f"deny_{kind}"]:
            fields[scope] = {"allow": lists[f"allow_{kind}"] or None, "deny": lists[f"deny_{kind}"]}
    if workspace := given["workspace"]:
        fields["workspace"] = str(Path(workspace).expanduser().absolute())
    if labels:
        fields["labels"] = dict(_label(one) for one in labels)
    return fields


@sessions.command()
@click.argument("session", type=Id("session"))
@click.option("--force", is_flag=True, help="Interrupt an active run instead of failing.")
@pass_settings
def end(settings: Settings, session: str, force: bool) -> None:
    """End a session: it accepts no new input."""
    ended = settings.client().sessions.end(session, force=force)
    emit(settings, ended, ids=[session], human=lambda: say(f"{session} is {ended['status']}."))


@sessions.command()
@click.argument("session", type=Id("session"))
@pass_settings
def interrupt(settings: Settings, session: str) -> None:
    """Stop the session's active run at the next safe point."""
    left = settings.client().sessions.interrupt(session)
    later = ": a run that works stops at its next safe point" if left["status"] == "busy" else ""
    emit(settings, left, ids=[session], human=lambda: say(f"{session} is {left['status']}{later}."))


@sessions.command()
@click.argument("session", type=Id("session"))
@click.option("--reason", help="The reason, for the journal.")
@pass_settings
def compact(settings: Settings, session: str, reason: str | None) -> None:
    """Request a summary of the conversation, with which the next run begins."""
    changed = settings.client().sessions.compact(session, reason=reason)
    emit(settings, changed, ids=[session], human=lambda: say(f"The next run of {session} summarises it first."))


sessions.add_command(fork)


def _show(settings: Settings, session: Any) -> None:
    emit(settings, session, ids=[session["session_id"]], human=lambda: details(session))


def _label(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise click.UsageError(f"--label {text!r} is not KEY=VALUE.")
    return key, value
