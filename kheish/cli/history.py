"""`kheish diff`, `show`, `blame` and `fork`: the past, as people read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import REV, Settings, at_option, command, pass_settings
from kheish.cli.output import details, emit, paint, plain, say, when
from kheish.errors import SessionDeleted
from kheish.ids import stamp

#: how the entry of a journal begins, in words
_HEAD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ)(?=  )")


@command()
@click.argument("session", type=Id("session"))
@click.argument("since", metavar="[FROM]", required=False)
@click.argument("to", metavar="[TO]", required=False)
@click.option("--limit", type=click.IntRange(1, 2000), help="How many entries at most (500).")
@pass_settings
def diff(settings: Settings, session: str, since: str | None, to: str | None, limit: int | None) -> None:
    """What happened in a SESSION between two moments, as a conversation.

    FROM and TO are commits, tags, event numbers (n:90412) or times (@{2026-11-22T12:00:00Z}); without them, from the
    beginning and up to now.
    """
    found = settings.client().sessions.diff(session, since, to, limit=limit)

    def human() -> None:
        if not found["entries"]:
            click.echo("Nothing happened in between.", err=True)
        conversation(found["text"])
        if found["next_from"]:
            rest = f" {to}" if to else ""
            click.echo(f"There is more: kheish diff {session} {found['next_from']}{rest}", err=True)

    emit(settings, found, ids=[str(entry["n"]) for entry in found["entries"]], human=human)


@command()
@click.argument("session", type=Id("session"))
@at_option
@pass_settings
def show(settings: Settings, session: str, at: str | None) -> None:
    """A SESSION and its conversation, now or as it was."""
    client = settings.client()
    found = client.sessions.get(session, at=at)

    def human() -> None:
        details({**found})
        say()
        try:
            told = client.sessions.diff(session, None, at)
        except SessionDeleted:
            journal = f"{found['path']}/journal/"
            return click.echo(f"It was deleted since; its conversation: git log -p --all -- {journal}", err=True)
        conversation(told["text"])
        if told["next_from"]:
            rest = f" {at}" if at else ""
            click.echo(f"There is more: kheish diff {session} {told['next_from']}{rest}", err=True)
        return None

    emit(settings, found, ids=[found["session_id"]], human=human)


@command()
@click.argument("path", metavar="FILE")
@at_option
@pass_settings
def blame(settings: Settings, path: str, at: str | None) -> None:
    """Who wrote each line of a FILE of people's (routes/local.yaml, kheish.yaml), when, and with which commit."""
    found = settings.client().blame(_within(settings, path), at=at)

    def human() -> None:
        wide = max((len(line["author"]) for line in found["lines"]), default=0)
        for line in found["lines"]:
            about = f"{when(stamp(line['time']))}  {plain(line['author']):<{wide}}"
            say(f"{paint(line['commit'][:8], fg='yellow')}  {paint(about, dim=True)}  {plain(line['text'])}")

    emit(settings, found, ids=list(dict.fromkeys(line["commit"] for line in found["lines"])), human=human)


def _within(settings: Settings, path: str) -> str:
    """The file's path from the state root, also where it was given from the current folder."""
    if settings.url is None and (there := Path(path).absolute()).exists():
        try:
            return there.relative_to(settings.root().absolute()).as_posix()
        except ValueError:
            return path
    return path


@command()
@click.argument("session", type=Id("session"))
@click.argument("new", required=False)
@click.option("--at", metavar="REV", help=f"Up to then: {REV}, or an entry of its journal (seq:17). Without it, now.")
@click.option("--title", help="What people see.")
@pass_settings
def fork(settings: Settings, session: str, new: str | None, at: str | None, title: str | None) -> None:
    """Make the session NEW with the history of SESSION; what is open in the one is not in the other."""
    made: Any = settings.client().sessions.fork(session, new, at=at, title=title)
    origin = made["forked_from"]

    def human() -> None:
        say(f"{made['session_id']} goes on from {origin['session_id']}, entry {origin['seq']} (event {origin['n']}).")

    emit(settings, made, ids=[made["session_id"]], human=human)


def conversation(text: str) -> None:
    """Print what a diff says; the heads of entries stand out, and have local times."""
    for line in plain(text).splitlines():
        head = _HEAD.match(line)
        say(paint(f"{when(head[1])}{line[head.end() :]}", fg="yellow") if head else line)
