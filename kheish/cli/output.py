"""Output of results: tables for users, JSON and YAML for programs, ids for pipes; colour only on a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from kheish.cli.cells import clip, pad, width_of
from kheish.cli.options import Settings
from kheish.errors import KheishError
from kheish.store.git.textconv import HIDDEN, visible

Column = tuple[str, str | Callable[[Any], object]]

#: a time in the format of the API
_STAMP = re.compile(r"[0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9](\.[0-9]+)?Z")

#: line breaks and tabs, which a row of a table has not
_BLANKS = str.maketrans("\n\t", "  ")
#: the width to which cells of a table are padded at most
_PADDED = 80
_STATUS = {
    "completed": "green",
    "allowed": "green",
    "answered": "green",
    "ok": "green",
    "idle": "green",
    "running": "cyan",
    "busy": "cyan",
    "queued": "blue",
    "pending": "yellow",
    "waiting_for_approval": "yellow",
    "waiting_for_question": "yellow",
    "warning": "yellow",
    "failed": "red",
    "error": "red",
    "denied": "red",
}


def plain(text: object) -> str:
    """Return `text` with terminal control characters made visible; line breaks and tabs stay."""
    return visible(str(text))


def escaped(text: str) -> str:
    """Return equivalent JSON with terminal controls (C1, DEL, changes of direction) escaped as `\\u009b`."""
    return HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1] if found[0] >= " " else found[0], text)


def coloured() -> bool:
    """Return whether stdout is a terminal with colour, and NO_COLOR is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, **style: Any) -> str:
    """Return `text`, styled if colour is enabled."""
    return click.style(text, **style) if coloured() else text


def say(text: str = "") -> None:
    """Write one line to stdout unchanged."""
    click.echo(text, color=coloured())


def emit(settings: Settings, document: Any, *, ids: Iterable[str], human: Callable[[], None]) -> None:
    """Print `document` in the selected format: ids, JSON of the API, YAML, or with `human()`."""
    if settings.quiet:
        for one in ids:
            say(one)
    elif settings.output == "json":
        say(escaped(json.dumps(document, ensure_ascii=False, indent=2)))
    elif settings.output == "yaml":
        say(as_yaml(document))
    else:
        human()


def listing(settings: Settings, page: Mapping[str, Any], key: str, columns: Sequence[Column], none: str) -> None:
    """Print one page of a list; `none` is the message for an empty one."""
    items = page["items"]

    def human() -> None:
        if not items:
            return click.echo(none, err=True)
        table(items, columns)
        if page.get("next_cursor"):
            click.echo(f"More results: --cursor {page['next_cursor']}", err=True)
        return None

    emit(settings, page, ids=[str(item[key]) for item in items], human=human)


def fitting(none: str, *filters: object) -> str:
    """Return the message for an empty list: `none`, unless filters were given."""
    return "No matches." if any(one is not None for one in filters) else none


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print rows under headings; on a terminal, truncate the last column to its width. A cell that is longer than
    others are padded moves the rest of its own row."""
    heads = [head for head, _ in columns]
    cells = [[_cell(row, read) for _, read in columns] for row in rows]
    widths = [min(max(width_of(head), *(width_of(line[i]) for line in cells)), _PADDED) for i, head in enumerate(heads)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    last = max(room - sum(widths[:-1]) - 2 * (len(widths) - 1), 12)
    say(paint("  ".join(pad(head, width) for head, width in zip(heads, widths, strict=True)).rstrip(), bold=True))
    for line in cells:
        line[-1] = shorten(line[-1], last)
        padded = [_toned(cell, pad(cell, width)) for cell, width in zip(line, widths, strict=True)]
        say("  ".join(padded).rstrip())


def details(document: Mapping[str, Any]) -> None:
    """Print one document: a line for each field that is not empty."""
    width = max((width_of(name) for name in document), default=0)
    for name, value in document.items():
        if value in (None, [], {}, ""):
            continue
        head = paint(pad(name, width), bold=True)
        if isinstance(value, (dict, list)):
            text = "\n".join("  " + line for line in as_yaml(value).splitlines())
            say(f"{head}\n{plain(text)}")
        elif "\n" in str(value):
            say(head + "\n" + "\n".join("  " + line for line in plain(value).splitlines()))
        else:
            shown = when(value) if _STAMP.fullmatch(str(value)) else _scalar(value)
            say(f"{head}  {_toned(str(value), plain(shown))}")


def as_yaml(document: Any) -> str:
    """Return a JSON value as YAML, in its own order, with multi-line texts as blocks."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    dumped: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
    return dumped.removesuffix("\n").removesuffix("\n...")


def when(at: object) -> str:
    """Return a UTC time of the API as local time to the second, with its offset (`+01`, `Z` for none)."""
    if not at:
        return ""
    from datetime import datetime

    local = datetime.fromisoformat(str(at)).astimezone()
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M:%S}{'Z' if offset == '+0000' else offset.removesuffix('00')}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun.removesuffix('y')}{'ies' if noun[-1] == 'y' else 's'}"


def shorten(text: str, room: int) -> str:
    """Return the first line of `text`, truncated to `room` columns of a terminal."""
    return clip(plain(text).strip().split("\n", 1)[0], max(room, 2))


def _cell(row: Mapping[str, Any], read: str | Callable[[Any], object]) -> str:
    value = row.get(read) if isinstance(read, str) else read(row)
    return "" if value is None else plain(_scalar(value)).translate(_BLANKS)


def _scalar(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _toned(cell: str, padded: str) -> str:
    tone = _STATUS.get(cell)
    return paint(padded, fg=tone) if tone else padded


def report(error: KheishError, settings: Settings) -> int:
    """Write an error to stderr and return its exit code."""
    if settings.output == "json":
        from kheish.client.faults import as_problem

        click.echo(json.dumps(as_problem(error), ensure_ascii=False), err=True)
        return error.exit_code
    click.echo(plain(f"kheish: {error.detail}"), err=True)
    for fault in error.errors:
        click.echo(plain(f"  {fault.path}: {fault.message}"), err=True)
    return error.exit_code
