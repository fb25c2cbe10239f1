"""`kheish changes`: the files of the workspace that a session changed, with their diffs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, command, page_options, pass_settings
from kheish.cli.output import Column, emit, paint, plain, say, table, when
from kheish.cli.rendering import diff_lines

_MARKS = {"added": "A", "modified": "M", "deleted": "D"}


def _lines(file: Mapping[str, Any]) -> str:
    """Return the counts of added and removed lines; empty unless the diff is the net one."""
    if file["diff"] is None or not file["is_net"]:
        return ""
    lines = file["diff"].split("\n")[2:]
    return f"+{sum(line[:1] == '+' for line in lines)} -{sum(line[:1] == '-' for line in lines)}"


_STAT: list[Column] = [
    ("", lambda file: _MARKS.get(file["change"], "?")),
    ("LINES", _lines),
    ("EDITS", "edits"),
    ("RUNS", lambda file: len(file["runs"])),
    ("CHANGED", lambda file: when(file["changed_at"])),
    ("FILE", "path"),
]


@command()
@click.argument("session", type=Id("session"))
@click.option("--stat", is_flag=True, help="One line per file instead of its diff.")
@page_options
@pass_settings
def changes(settings: Settings, session: str, stat: bool, limit: int | None, cursor: str | None) -> None:
    """Show the workspace files that SESSION changed with write_file, edit_file and apply_patch.

    Each diff covers all changes of the session to that file. Changes by commands (bash) are not included.
    """
    page = settings.client().sessions.changes(session, limit=limit, cursor=cursor)
    items = page["items"]

    def human() -> None:
        if stat and items:
            table(items, _STAT)
        if stat:
            _say_what_is_missing(items)
        else:
            show_changes(items)
        if page["next_cursor"]:
            click.echo(f"More results: --cursor {page['next_cursor']}", err=True)

    emit(settings, page, ids=[file["path"] for file in items], human=human)


def show_changes(items: Sequence[Mapping[str, Any]]) -> None:
    """Print changed files with their diffs."""
    for file in items:
        _show(file)
    _say_what_is_missing(items)


def _show(file: Mapping[str, Any]) -> None:
    edits = f"{file['edits']} edit{'s' if file['edits'] > 1 else ''}, the last {when(file['changed_at'])}"
    say(paint(plain(f"{file['change']} {file['path']}"), bold=True) + plain(f"  ({edits}; {', '.join(file['runs'])})"))
    if file["mode"]:
        say(plain(f"  mode {file['mode']}"))
    if file["note"]:
        kind = "" if file["is_net"] else "; its individual diffs:" if file["diff"] else ""
        say(paint(plain(f"  {file['note']}{kind}"), fg="yellow"))
    for line, style in diff_lines(file["diff"], at_most=sys.maxsize) if file["diff"] else ():
        say(paint(plain(line.removeprefix("  ")), **style))


def _say_what_is_missing(items: Sequence[Mapping[str, Any]]) -> None:
    if not items:
        click.echo("No files were changed by the file tools (write_file, edit_file, apply_patch).", err=True)
    command = f"`git -C {plain(items[0]['workspace'])} diff`" if items else "`git diff`"
    note = "Changes by commands (bash) are not included; if the workspace is a git repository, see"
    click.echo(f"{note} {command}.", err=True)
