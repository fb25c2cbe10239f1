"""`kheish projects`: manage projects, and show their board, members and channels; pause, resume, archive."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import click

from kheish.cli.cells import pad
from kheish.cli.definitions import commands
from kheish.cli.options import Settings, page_options, pass_settings
from kheish.cli.output import Column, emit, listing, paint, plain, say, shorten, table
from kheish.cli.project_tasks import COLUMNS, notes, tasks

projects = commands(
    "projects",
    "project",
    "Manage projects: files, tasks, board, members and channels; pause, resume, archive.",
)
projects.add_command(tasks)
_WIDEST, _NARROWEST = 40, 16


@projects.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 100), help="The tasks of each column (20).")
@pass_settings
def board(settings: Settings, name: str, limit: int | None) -> None:
    """Show the tasks of a project by status: side by side on a terminal, one per line in a pipe."""
    found = settings.client().projects.board(name, limit=limit)
    columns = [column for column in found["columns"] if column["count"]]
    ids = [card["task_id"] for column in columns for card in column["items"]]

    def human() -> None:
        if not columns:
            return click.echo(f"No tasks; `kheish projects tasks add {name} TITLE` adds one.", err=True)
        if sys.stdout.isatty():
            title = found["title"] or name
            say(plain(f"{title} ({found['state']}, {found['claimed']} in progress)"))
            for line in _side_by_side(columns):
                say(line.rstrip())
        else:
            table([card for column in columns for card in column["items"]], COLUMNS)
        for line in _left_out(name, columns):
            click.echo(plain(line), err=True)
        return None

    emit(settings, found, ids=ids, human=human)


def _side_by_side(columns: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a board: a column for each status that fits, the rest below."""
    across = shutil.get_terminal_size().columns
    fit = max(1, min(len(columns), across // (_NARROWEST + 2)))
    width = min(_WIDEST, (across - 2 * (fit - 1)) // fit)
    for at in range(0, len(columns), fit):
        part = columns[at : at + fit]
        heads = [f"{column['status']} ({column['count']})".ljust(width) for column in part]
        yield ""
        yield "  ".join(paint(head, bold=True) for head in heads)
        cards = [[line for card in column["items"] for line in _card(card, width)] for column in part]
        cards = [[*lines, *_rest(column)] for lines, column in zip(cards, part, strict=True)]
        for row in zip_longest(*cards, fillvalue=""):
            yield "  ".join(pad(line, width) for line in row)


def _card(card: Mapping[str, Any], width: int) -> Iterator[str]:
    yield shorten(f"{card['task_id']} {card['title']}", width)
    if text := notes(card):
        yield shorten(f"  {text}", width)


def _left_out(name: str, columns: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how to see the tasks for which a board has no room."""
    for column in columns:
        rest, cursor = column["count"] - len(column["items"]), column["next_cursor"]
        if rest > 0 and cursor is not None:
            more = f"kheish projects tasks list {name} --status {column['status']} --cursor {cursor}"
            yield f"{rest} more {column['status']}: {more}"


def _rest(column: Mapping[str, Any]) -> list[str]:
    rest = column["count"] - len(column["items"])
    return [f"… {rest} more"] if rest > 0 else []


@projects.command()
@click.argument("name")
@page_options
@pass_settings
def members(settings: Settings, name: str, limit: int | None, cursor: str | None) -> None:
    """List the members of a project, with their open tasks."""
    page = settings.client().projects.members(name, limit=limit, cursor=cursor)
    columns: list[Column] = [
        ("MEMBER", "member"),
        ("KIND", "kind"),
        ("OPEN TASKS", "open_tasks"),
        ("WHO", lambda one: one["session"] or one["person"]),
        ("ROLE", "role"),
    ]
    listing(settings, page, "member", columns, "No members.")


@projects.command()
@click.argument("name")
@page_options
@pass_settings
def channels(settings: Settings, name: str, limit: int | None, cursor: str | None) -> None:
    """List the channels that a project links."""
    page = settings.client().projects.channels(name, limit=limit, cursor=cursor)
    columns: list[Column] = [("CHANNEL", "channel"), ("DEFAULT", "default"), ("MIRROR", "mirror"), ("ROLE", "role")]
    listing(settings, page, "channel", columns, "No channels.")


@projects.command()
@click.argument("name")
@click.option("--reason", help="The reason, which `show` returns.")
@pass_settings
def pause(settings: Settings, name: str, reason: str | None) -> None:
    """Start and claim no more tasks of a project; what is under way continues."""
    found = settings.client().projects.pause(name, reason)
    emit(settings, found, ids=[name], human=lambda: say(f"{name} is paused; `kheish projects resume {name}`."))


@projects.command()
@click.argument("name")
@pass_settings
def resume(settings: Settings, name: str) -> None:
    """Make a project active again, also one that is archived."""
    found = settings.client().projects.resume(name)
    emit(settings, found, ids=[name], human=lambda: say(f"{name} is {found['state']}."))


@projects.command()
@click.argument("name")
@click.option("--reason", help="The reason, which `show` returns.")
@pass_settings
def archive(settings: Settings, name: str, reason: str | None) -> None:
    """Archive a project: it takes no more tasks, and its board stays."""
    found = settings.client().projects.archive(name, reason)
    emit(settings, found, ids=[name], human=lambda: say(f"{name} is archived; `kheish projects resume {name}`."))


@projects.command()
@click.argument("name")
@pass_settings
def remove(settings: Settings, name: str) -> None:
    """Remove a project; one that has tasks is archived instead."""
    from kheish.errors import NotFound

    definitions = settings.client().definitions("projects")
    definitions.delete(name)
    try:
        found = definitions.get(name)
    except NotFound:
        return emit(settings, {"id": name, "removed": True}, ids=[name], human=lambda: say(f"{name} is removed."))
    return emit(settings, found, ids=[name], human=lambda: say(f"{name} has tasks, and is archived."))
