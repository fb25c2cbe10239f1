"""`kheish hooks`: manage hooks, import those of other programs, test them, and list their invocations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli import asking
from kheish.cli.definitions import commands, json_object, read_file
from kheish.cli.options import Settings, page_options, pass_settings
from kheish.cli.output import Column, emit, fitting, listing, plain, say, when

if TYPE_CHECKING:
    from kheish.client.hooks_import import Imported

hooks = commands("hooks", "hook", "Manage hooks: their files and invocations; import and test them.")
_STATES = ("running", "settled", "dead")
_INPUT = '{"tool_name": "Bash"}'
_INVOCATIONS: tuple[Column, ...] = (
    ("ID", "invocation_id"),
    ("AT", lambda one: when(one["invoked_at"])),
    ("EVENT", "event"),
    ("RESULT", lambda one: one["result"] or one["status"]),
    ("TRIES", "attempts"),
    ("REASON", "reason"),
)


@hooks.command()
@click.argument("name")
@click.option("--status", multiple=True, type=click.Choice(_STATES), help="Only invocations with this status.")
@page_options
@pass_settings
def runs(settings: Settings, name: str, status: tuple[str, ...], limit: int | None, cursor: str | None) -> None:
    """List the invocations of a hook, newest first."""
    _list(settings, name, status, limit, cursor, fitting("No invocations yet.", status or None))


@hooks.command()
@click.argument("name")
@page_options
@pass_settings
def dead(settings: Settings, name: str, limit: int | None, cursor: str | None) -> None:
    """List the invocations of a hook that failed after all their attempts, newest first."""
    _list(settings, name, ("dead",), limit, cursor, "No invocation has failed.")


def _list(
    settings: Settings, name: str, status: Sequence[str], limit: int | None, cursor: str | None, none: str
) -> None:
    page = settings.client().hooks.invocations(name, status=list(status) or None, limit=limit, cursor=cursor)
    listing(settings, page, "invocation_id", list(_INVOCATIONS), none)


@hooks.command()
@click.argument("name")
@click.argument("input", default="{}", metavar="[JSON|-]")
@click.option("--event", metavar="EVENT", help="The event; without it, the first of its file.")
@click.option("--session", metavar="ID", help="The session whose workspace and transcript it gets.")
@pass_settings
def test(settings: Settings, name: str, input: str, event: str | None, session: str | None) -> int:
    """Run a hook once with fields of its input as JSON (`-`: stdin), and show its answer, which decides nothing."""
    given = json_object(input, "The input", _INPUT)
    done = settings.client().hooks.test(name, input=given, event=event, session=session)

    def human() -> None:
        say(plain(f"{name} at {done['event']}: {done['result']}{': ' + done['reason'] if done['reason'] else ''}"))
        if not done["matches"]:
            say("    its matcher does not mean this input: a run would not start it")
        for key, value in (done["answer"] or {}).items():
            if value not in (None, False) and key not in ("reason", "is_object"):
                say(plain(f"    {key}: {value if isinstance(value, str) else json.dumps(value)}"))

    emit(settings, done, ids=[done["invocation_id"]], human=human)
    return 1 if done["result"] == "failed" else 0


# --- import -----------------------------------------------------------------------------------------------------------


@hooks.command("import")
@click.argument("file")
@click.option("--plugin-root", metavar="DIR", help="The folder of the plugin that the file belongs to.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_settings
def import_(settings: Settings, file: str, plugin_root: str | None, yes: bool) -> int:
    """Import the hooks of another program's FILE: .claude/settings.json, hooks/hooks.json, .codex/hooks.json.

    Each handler becomes a file. Commands run unconfined, and are trusted by your confirmation.
    """
    from kheish.client import hooks_import, mcp_import

    folder = str(Path(plugin_root).expanduser().resolve()) if plugin_root is not None else None
    stem = hooks_import.stem_of(str(Path(file).resolve()) if file != "-" else "imported/stdin")
    try:
        found = hooks_import.read(read_file(file), stem=stem, plugin_root=folder)
    except mcp_import.Unreadable as error:
        raise click.UsageError(f"{file} cannot be imported: {error}.") from error
    client = settings.client()
    there = {one["id"] for one in client.hooks.list(limit=200)["items"]}
    slots = {one["slot"] for one in client.secrets.list()["items"]}
    for one in found:
        if one.refusal is None and one.id in there:
            one.refusal = "a hook of this name exists"
        elif one.refusal is None and (taken := sorted(slots & one.secrets.keys())):
            one.refusal = f"the slot {taken[0]} exists"
        elif one.refusal is None:
            one.refusal = _fault(client, one)
    usable = [one for one in found if one.refusal is None]
    if usable and not yes:
        lines = [f"    {one.event}: {one.command or one.file}" for one in usable]
        asking.confirm("Add them?", ["These hooks are added, and run at their events, unconfined:", *lines])
    for one in usable:
        _put(client, one)
    rows = [
        {
            "id": one.id, "event": one.event, "imported": one.refusal is None, "slots": sorted(one.secrets),
            "notes": [*([one.refusal] if one.refusal else []), *one.notes],
        }
        for one in found
    ]  # fmt: skip
    emit(settings, {"items": rows}, ids=[one.id for one in usable], human=lambda: _imported(rows))
    return 0 if any(one.refusal is None for one in found) or not found else 1


def _fault(client: Any, one: Imported) -> str | None:
    """Return the reason why the daemon would refuse a hook."""
    found = client.hooks.validate(json.dumps(one.file), name=one.id)
    faults = [problem["message"] for problem in found["problems"] if problem["severity"] == "error"]
    return None if found["valid"] else "; ".join(faults)


def _put(client: Any, one: Imported) -> None:
    """Create a hook with its secrets."""
    for slot, value in one.secrets.items():
        client.secrets.put(slot, value, f"for the hook {one.id}")
    client.hooks.put(one.id, one.file)


def _imported(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        say(plain(f"{row['event']}: {row['id'] if row['imported'] else 'not imported'}"))
        for slot in row["slots"]:
            say(plain(f"    its secret is in the slot {slot}"))
        for note in row["notes"]:
            say(plain(f"    {note}"))
