"""The commands common to all kinds of Definitions: list, show, edit, put, add, validate, remove."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kheish.cli.options import Group, Settings, at_option, group, page_options, pass_settings
from kheish.cli.output import Column, emit, listing, plain, say

if TYPE_CHECKING:
    from kheish.client.call import Text
    from kheish.client.sync import Definitions

T = TypeVar("T")

#: kinds whose files are Markdown
_TEXTS = frozenset({"personas", "skills"})
_KEYS = ("id", "name", "path")
_FIELDS: Mapping[str, Sequence[tuple[str, Any]]] = {  # columns of a list
    "routes": (("DRIVER", "driver"), ("MODEL", "model"), ("SERVER", "api_base"), ("KEY", "auth_ref")),
    "channels": (("ACTIVE", "state"), ("MESSAGES", "messages"), ("LAST", "last_at"), ("TITLE", "title")),
    "connectors": (
        ("KIND", "kind"),
        ("STATE", "state"),
        ("RECEIVED", "received"),
        ("LAST", "last_at"),
        ("ERROR", "last_error"),
    ),
    "hooks": (
        ("EVENTS", lambda one: ", ".join(one["events"])),
        ("TRUSTED", "trusted"),
        ("BOUND", lambda one: ", ".join(one["bound"])),
        ("RUNS", "runs"),
        ("FAILED", "failures"),
    ),
    "personas": (("SHOWN AS", "display_name"),),
    "mcp": (("SERVER", "state"), ("WHERE", lambda one: one["url"] or one["command"]), ("ERROR", "last_error")),
    "outputs": (
        ("KIND", "kind"),
        ("OUTPUT", "state"),
        ("OPEN", "open_deliveries"),
        ("STUCK", "stuck_deliveries"),
        ("ERROR", "last_error"),
    ),
    "projects": (("ACTIVE", "state"), ("IN PROGRESS", "claimed"), ("TITLE", "title")),
    "sources": (
        ("KINDS", lambda one: ", ".join(one["kinds"])),
        ("RECEIVED", "received"),
        ("KEPT", "retained"),
        ("LAST", "last_received_at"),
        ("TITLE", "title"),
    ),
    "workers": (
        ("CARRIER", "carrier"),
        ("ADDRESS", "address"),
        ("LABELS", lambda one: ", ".join(one["labels"])),
        ("CONNECTION", "state"),
        ("VERSION", lambda one: one["version"] or ""),
        ("JOBS", "jobs"),
        ("SESSIONS", "sessions"),
        ("ERROR", lambda one: one["last_error"] or ""),
    ),
    "schedules": (("ACTIVE", "state"), ("NEXT", "next"), ("LAST", "last"), ("ZONE", "timezone"), ("TITLE", "title")),
}


def commands(kind: str, one: str, about: str) -> Group:
    """Return the group `kheish <kind>`; `one` is its singular."""

    @group(kind, help=about)
    def root() -> None:
        pass

    _readers(root, kind, one)
    sources(root, kind, one)
    return root


def an(noun: str) -> str:
    """Return a noun after its article: `an output`, `an MCP server`."""
    return f"{'an' if noun[0] in 'aeiou' or noun.startswith('MCP ') else 'a'} {noun}"


def sources(root: Group, kind: str, one: str) -> None:
    """Add the commands that change files; those that read are the kind's own."""
    _writers(root, kind, one)
    _changers(root, kind, one)


def _readers(root: Group, kind: str, one: str) -> None:
    @root.command("list", help=f"List the {kind}.")
    @page_options
    @pass_settings
    def list_(settings: Settings, limit: int | None, cursor: str | None) -> None:
        page = settings.client().definitions(kind).list(limit=limit, cursor=cursor)
        key = next((key for key in _KEYS if page["items"] and key in page["items"][0]), "id")
        none = f"No {kind}; `kheish {kind} add NAME FILE` adds one."
        listing(settings, page, key, _columns(kind, key), none)

    @root.command(help=f"Show {an(one)} as written; --output json or yaml includes its status.")
    @click.argument("name")
    @at_option
    @pass_settings
    def show(settings: Settings, name: str, at: str | None) -> None:
        definitions = settings.client().definitions(kind)
        if settings.output == "table" and not settings.quiet:
            say(plain(definitions.text(name, at=at).text.rstrip("\n")))
            return _show_bound(definitions.get(name)) if kind == "hooks" and at is None else None
        return emit(settings, definitions.get(name, at=at), ids=[name], human=lambda: None)

    @root.command(help=f"Check a file (`-`: stdin) or an existing {one}; nothing is changed.")
    @click.argument("what", metavar="FILE|NAME")
    @pass_settings
    def validate(settings: Settings, what: str) -> int:
        definitions = settings.client().definitions(kind)
        is_file = what == "-" or Path(what).is_file()
        content = read_file(what) if is_file else definitions.text(what).text
        name = None if what == "-" else Path(what).stem if is_file else what
        return verdict(settings, definitions.validate(content, name=name), what)


def _show_bound(hook: Mapping[str, Any]) -> None:
    """Show which files the trust in a hook covers, beside its text."""
    if hook["command"] is not None:
        click.echo(plain(f"bound: {', '.join(hook['bound']) or 'no other file'}"), err=True)


def _writers(root: Group, kind: str, one: str) -> None:
    def writing(name: str, about: str) -> Callable[[Callable[..., None]], click.Command]:
        def wrap(function: Callable[..., None]) -> click.Command:
            function = click.argument("name")(click.argument("file", default="-")(pass_settings(function)))
            return root.command(name, help=about)(function)

        return wrap

    @writing("put", f"Create or replace {an(one)} from FILE (`-`: stdin), stored as written.")
    def put(settings: Settings, name: str, file: str) -> None:
        stored(settings, name, settings.client().definitions(kind).put(name, read_file(file)))

    @writing("add", f"Create {an(one)} from FILE (`-`: stdin); fails if it exists.")
    def add(settings: Settings, name: str, file: str) -> None:
        from kheish.errors import Conflict, NotFound

        definitions = settings.client().definitions(kind)
        try:
            definitions.get(name)
        except NotFound:
            return stored(settings, name, definitions.put(name, read_file(file)))
        raise Conflict(
            f"The {one} {name!r} exists; change it with `kheish {kind} edit {name}` or replace it with `put`."
        )


def _changers(root: Group, kind: str, one: str) -> None:
    @root.command(help=f"Edit {an(one)} in your editor (EDITOR).")
    @click.argument("name")
    @pass_settings
    def edit(settings: Settings, name: str) -> None:
        definitions = settings.client().definitions(kind)
        found = edited(definitions, name, definitions.text(name))
        if found is None:
            return click.echo("No changes.", err=True)
        return stored(settings, name, found)

    @root.command(help=f"Remove {an(one)}; fails while other files refer to it.")
    @click.argument("name")
    @pass_settings
    def remove(settings: Settings, name: str) -> None:
        definitions = settings.client().definitions(kind)
        many = definitions.get(name)["sessions"] if kind == "workers" else 0
        definitions.delete(name)
        if many:
            click.echo(f"Open sessions ({many}) work there: their runs fail until {name} is back.", err=True)
        emit(settings, {"id": name, "removed": True}, ids=[name], human=lambda: say(f"{name} is removed."))


def edited(definitions: Definitions, name: str, before: Text) -> dict[str, Any] | None:
    """Edit until the text is valid or the user gives up; return None if nothing changed."""
    suffix = ".md" if definitions.kind in _TEXTS else ".yaml"
    return revised(before.text, suffix, lambda text: definitions.put(name, text, if_match=before.etag))


def revised(before: str, suffix: str, put: Callable[[str], T]) -> T | None:
    """Edit a text until `put` takes it or the user gives up; return its answer, or None if nothing changed."""
    from kheish.errors import Invalid

    text = before
    while True:
        changed = click.edit(text, extension=suffix)
        if changed is None or changed == before:
            return None
        try:
            return put(changed)
        except Invalid as error:
            places = [f"  {_where(one)}: {one['message']}" for one in error.extra.get("problems", ())]
            places = places or [f"  {one.path}: {one.message}" for one in error.errors]
            click.echo(plain("\n".join([error.detail, *places])), err=True)
            if not sys.stdin.isatty() or not click.confirm("Edit again?", default=True, err=True):
                raise
            text = changed


def _where(problem: Mapping[str, Any]) -> str:
    return f"line {problem['line']}, column {problem['column']}" if problem.get("line") else problem["path"]


def read_file(file: str) -> str:
    """Return the text of a file, or of stdin for `-`."""
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"Cannot read {file}: {error}.") from error


def json_object(text: str, what: str, example: str) -> dict[str, Any]:
    """Return the object that a text has as JSON (`-`: stdin has it). Raises UsageError."""
    try:
        value = json.loads(read_file("-") if text == "-" else text)
    except ValueError as error:
        raise click.UsageError(f"{what}: this is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise click.UsageError(f"{what}: give a JSON object, such as '{example}'.")
    return value


def stored(settings: Settings, name: str, document: Mapping[str, Any]) -> None:
    """Report that a Definition is stored."""
    emit(settings, document, ids=[name], human=lambda: say(f"{name} is stored and in effect."))


def verdict(settings: Settings, found: Mapping[str, Any], what: str) -> int:
    """Print the result of a validation; return 1 if there are errors, else 0."""
    problems = found.get("problems") or found.get("errors") or found.get("items") or []
    valid = bool(found["valid"]) if "valid" in found else not problems

    def human() -> None:
        for problem in problems:
            place = ":".join(str(problem[key]) for key in ("line", "column") if problem.get(key))
            where = place or problem.get("path") or ""
            warns = "warning: " if problem.get("severity") == "warning" else ""
            say(plain(f"{what}:{where}: {warns}{problem.get('message')}"))
        if valid:
            say(f"{what} is valid.")

    emit(settings, found, ids=[], human=human)
    return 0 if valid else 1


def _columns(kind: str, key: str) -> list[Column]:
    def state(one: Mapping[str, Any]) -> object:
        status = one.get("status")
        return status.get("state") if isinstance(status, Mapping) else status

    def inner(field: str) -> Callable[[Mapping[str, Any]], object]:
        def read(one: Mapping[str, Any]) -> object:
            value = one.get("value") or one.get("spec") or one
            return value.get(field) if isinstance(value, Mapping) else None

        return read

    fields = _FIELDS.get(kind, ())
    return [
        ("NAME", key),
        ("STATE", state),
        *((head, inner(field) if isinstance(field, str) else field) for head, field in fields),
    ]
