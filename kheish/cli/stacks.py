"""`kheish plan`, `apply` and `export`: a folder of Definitions as a whole."""

from __future__ import annotations

import base64
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import Column, counted, emit, paint, plain, say, table
from kheish.errors import NotFound

if TYPE_CHECKING:
    from kheish.client.shapes import StackPlan

#: colours of the actions
_TONES = {"create": "green", "change": "yellow", "delete": "red", "label": "blue"}
_MARKS = {"create": "+", "change": "~", "delete": "-", "label": "="}
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_NAME = click.option("--name", metavar="STACK", help="The name of the stack (default: the name of the folder).")
_PRUNE = click.option("--prune", is_flag=True, help="Also delete files of this stack that are missing from DIR.")


@command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@_NAME
@_PRUNE
@pass_settings
def plan(settings: Settings, folder: Path, name: str | None, prune: bool) -> int:
    """Show what `kheish apply DIR` would change: the routes, Playbooks and other Definitions in DIR.

    DIR is laid out as a state root: routes/, personas/, playbooks/, ... Exits with 1 if a file has errors.
    """
    found = settings.client().stacks.plan(_stack(folder, name), _files(folder), prune=prune)
    emit(settings, found, ids=[one["path"] for one in _effective(found)], human=lambda: _show(found))
    return 1 if _errors(found) else 0


@command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@_NAME
@_PRUNE
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@pass_settings
def apply(settings: Settings, folder: Path, name: str | None, prune: bool, yes: bool) -> int:
    """Apply the Definitions in DIR as one commit; a file with errors applies nothing.

    The plan is shown first. On a terminal, you are asked to confirm it.
    """
    client, stack, files = settings.client(), _stack(folder, name), _files(folder)
    found = client.stacks.plan(stack, files, prune=prune)
    if settings.output == "table" and not settings.quiet:
        _show(found)
    if _errors(found):
        click.echo("Nothing is applied.", err=True)
        return 1
    if not _effective(found):
        emit(settings, found, ids=[], human=lambda: None)
        return 0
    if not yes and sys.stdin.isatty() and not click.confirm("Apply?", default=False, err=True):
        raise click.Abort
    done = client.stacks.apply(stack, files, prune=prune, plan=found["plan"])
    paths = [one["path"] for one in _effective(done)]
    deleted = sum(one["action"] == "delete" for one in _effective(done))
    gone = f", and {counted(deleted, 'file')} deleted" if deleted else ""
    text = f"{counted(len(paths) - deleted, 'file')} applied as the stack {stack}{gone}."
    emit(settings, done, ids=paths, human=lambda: say(text))
    return 0


@command()
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option("--managed-by", metavar="STACK", help="Only the files of this stack.")
@pass_settings
def export(settings: Settings, folder: Path | None, managed_by: str | None) -> None:
    """Write the Definitions in effect to DIR, which must be empty or missing; without DIR, list them."""
    client = settings.client()
    files: list[Mapping[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.stacks.files(limit=200, cursor=cursor, managed_by=managed_by)
        files += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    if managed_by is not None and not files:
        raise NotFound(f"No Definition is managed by a stack {managed_by!r}.")
    if folder is not None:
        _write(folder, files)
    columns: tuple[Column, ...] = (("PATH", "path"), ("STACK", "managed_by"))

    def human() -> None:
        if folder is None:
            return table(files, columns)
        return say(f"{counted(len(files), 'file')} written to {plain(folder)}.")

    emit(settings, {"items": files, "next_cursor": None}, ids=[one["path"] for one in files], human=human)


def _stack(folder: Path, name: str | None) -> str:
    return name or "-".join(folder.resolve().name.lower().replace("_", " ").replace(".", " ").split()) or "stack"


def _files(folder: Path) -> list[Any]:
    """Return the files of a folder as the request has them. Hidden files are left out."""
    return list(_read(folder, ""))


def _read(folder: Path, before: str) -> Iterator[Mapping[str, Any]]:
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        path = f"{before}{entry.name}"
        if entry.name.startswith("."):
            continue
        if (shown := os.fsencode(path).decode(errors="backslashreplace")) != path:
            raise click.UsageError(f"{shown} has a name that is not UTF-8 (shown with \\x for such bytes); rename it.")
        if entry.is_symlink():
            raise click.UsageError(f"{path} is a symbolic link; put the file itself into the folder.")
        if entry.is_dir():
            yield from _read(Path(entry.path), f"{path}/")
        elif entry.is_file():
            raw, mode = Path(entry.path).read_bytes(), entry.stat().st_mode
            file = {"path": path, "executable": bool(mode & stat.S_IXUSR)}
            try:
                yield {**file, "text": raw.decode()}
            except UnicodeDecodeError:
                yield {**file, "content_base64": base64.b64encode(raw).decode()}


def _write(folder: Path, files: list[Mapping[str, Any]]) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty; name a new folder.")
    for one in files:
        place = folder / one["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        raw = base64.b64decode(one["content_base64"]) if one["text"] is None else one["text"].encode()
        place.write_bytes(raw)
        place.chmod(0o755 if one["executable"] else 0o644)


def _effective(found: StackPlan) -> list[Any]:
    return [one for one in found["changes"] if one["action"] != "keep"]


def _errors(found: StackPlan) -> list[dict[str, Any]]:
    return [one for one in found["problems"] if one["severity"] == "error"]


def _show(found: StackPlan) -> None:
    """Print a plan: a line for each change, then the problems."""
    for one in _effective(found):
        action = one["action"]
        adopted = "" if one["managed_by"] or not one["before"] else "  (not from a stack until now)"
        say(paint(f"{_MARKS[action]} {action:<7}", fg=_TONES[action]) + plain(f"{one['path']}{adopted}"))
    for problem in found["problems"]:
        place = f"{problem['path']}:{problem['line']}:{problem['column']}" if problem["line"] else problem["path"]
        click.echo(plain(f"{problem['severity']}: {place}: {problem['message']}"), err=True)
    for path in found["ignored"]:
        click.echo(plain(f"ignored: {path} is not a Definition"), err=True)
    if not _effective(found):
        say("No changes.")
