"""`kheish diff`, `show`, `blame` and `fork`: the history of sessions and files in readable form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from kheish.cli.cells import pad, width_of
from kheish.cli.ids import Id
from kheish.cli.options import REV, Settings, at_option, command, pass_settings
from kheish.cli.output import details, emit, paint, plain, say, when
from kheish.errors import SessionDeleted
from kheish.ids import stamp

#: the head of a journal entry in the text of a diff
_HEAD = re.compile(r"([0-9]{4}-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z)(?=  )")


@command()
@click.argument("session", type=Id("session"))
@click.argument("since", metavar="[FROM]", required=False)
@click.argument("to", metavar="[TO]", required=False)
@click.option("--limit", type=click.IntRange(1, 2000), help="The maximum number of entries (500).")
@pass_settings
def diff(settings: Settings, session: str, since: str | None, to: str | None, limit: int | None) -> None:
    """Show the events of SESSION between two revisions, as a conversation.

    FROM and TO are commits, tags, event numbers (n:90412) or times (@{2026-11-22T12:00:00Z}). They default to the
    beginning and to now.
    """
    found = settings.client().sessions.diff(session, since, to, limit=limit)

    def human() -> None:
        if not found["entries"]:
            click.echo("No events in this range.", err=True)
        conversation(found["text"])
        if found["next_from"]:
            rest = f" {to}" if to else ""
            click.echo(f"More entries: kheish diff {session} {found['next_from']}{rest}", err=True)

    emit(settings, found, ids=[str(entry["n"]) for entry in found["entries"]], human=human)


@command()
@click.argument("session", type=Id("session"))
@at_option
@pass_settings
def show(settings: Settings, session: str, at: str | None) -> None:
    """Show SESSION and its conversation, now or at an earlier revision."""
    client = settings.client()
    found = client.sessions.get(session, at=at)

    def human() -> None:
        details({**found})
        say()
        try:
            history = client.sessions.diff(session, None, at)
        except SessionDeleted:
            journal = f"{found['path']}/journal/"
            return click.echo(
                f"The session was deleted since; its conversation: git log -p --all -- {journal}", err=True
            )
        conversation(history["text"])
        if history["next_from"]:
            rest = f" {at}" if at else ""
            click.echo(f"More entries: kheish diff {session} {history['next_from']}{rest}", err=True)
        return None

    emit(settings, found, ids=[found["session_id"]], human=human)


@command()
@click.argument("path", metavar="FILE")
@at_option
@pass_settings
def blame(settings: Settings, path: str, at: str | None) -> None:
    """Show the author, time and commit of each line of FILE (such as routes/local.yaml or kheish.yaml)."""
    found = settings.client().blame(_within(settings, path), at=at)

    def human() -> None:
        wide = max((width_of(plain(line["author"])) for line in found["lines"]), default=0)
        for line in found["lines"]:
            about = f"{when(stamp(line['time']))}  {pad(plain(line['author']), wide)}"
            say(f"{paint(line['commit'][:8], fg='yellow')}  {paint(about, dim=True)}  {plain(line['text'])}")

    emit(settings, found, ids=list(dict.fromkeys(line["commit"] for line in found["lines"])), human=human)


def _within(settings: Settings, path: str) -> str:
    """Return the path relative to the state root; `path` may also be relative to the current folder."""
    if settings.url is None and (there := Path(path).absolute()).exists():
        try:
            return there.relative_to(settings.root().absolute()).as_posix()
        except ValueError:
            return path
    return path


@command()
@click.argument("session", type=Id("session"))
@click.argument("new", required=False)
@click.option("--at", metavar="REV", help=f"The revision to fork at: {REV}, or a journal entry (seq:17). Default: now.")
@click.option("--title", help="The display title.")
@pass_settings
def fork(settings: Settings, session: str, new: str | None, at: str | None, title: str | None) -> None:
    """Create the session NEW with the history of SESSION; open runs, approvals and questions are not copied."""
    made: Any = settings.client().sessions.fork(session, new, at=at, title=title)
    origin = made["forked_from"]

    def human() -> None:
        say(f"{made['session_id']} continues from {origin['session_id']}, entry {origin['seq']} (event {origin['n']}).")

    emit(settings, made, ids=[made["session_id"]], human=human)


def conversation(text: str) -> None:
    """Print the text of a diff, with highlighted entry heads and local times."""
    for line in plain(text).splitlines():
        head = _HEAD.match(line)
        say(paint(f"{when(head[1])}{line[head.end() :]}", fg="yellow") if head else line)
