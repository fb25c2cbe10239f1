"""`kheish secrets`: keep credentials in the state root, encrypted; this machine's identity decrypts them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from kheish.cli.options import Settings, exclusive, group, pass_settings
from kheish.cli.output import details, emit, listing, say, when
from kheish.errors import Invalid, NotFound, Unreachable

_COLUMNS = (
    ("SLOT", "slot"),
    ("STATUS", "status"),
    ("VERSION", "version"),
    ("SET", lambda one: when(one["value_at"])),
    ("USED BY", lambda one: ", ".join(one["referenced_by"])),
    ("DESCRIPTION", "description"),
)


@group()
def secrets() -> None:
    """Manage credentials in the state root, encrypted with age."""


def _given(from_env: str | None, file: str | None, slot: str) -> str:
    """Return the value from the source that the options select; never an argument, which every process can read."""
    exclusive(from_env=from_env, file=file)
    if from_env is not None:
        value = os.environ.get(from_env)
        if not value:
            raise Invalid(f"The environment variable {from_env} is not set.")
        return value
    if file == "-" or (file is None and not sys.stdin.isatty()):
        return sys.stdin.read().rstrip("\r\n")
    if file is not None:
        try:
            return Path(file).read_text().rstrip("\r\n")
        except OSError as error:
            raise Invalid(f"Cannot read {file}: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise Invalid(f"{file} is not a text file.") from error
    value = click.prompt(f"Value of {slot}", hide_input=True, confirmation_prompt=True)
    return str(value)


_FROM_ENV = click.option("--from-env", metavar="NAME", help="Read the value from an environment variable.")
_FILE = click.option("--file", "-f", metavar="FILE", help="Read the value from a file (-: stdin).")


@secrets.command("set")
@click.argument("slot")
@_FROM_ENV
@_FILE
@click.option("--description", help="A description of the secret.")
@pass_settings
def put(settings: Settings, slot: str, from_env: str | None, file: str | None, description: str | None) -> None:
    """Set SLOT to a value from a prompt, stdin, a file or an environment variable."""
    from kheish.ids import check_slug

    check_slug(slot, "slot")  # before the prompt for its value
    _put(settings, slot, _given(from_env, file, slot), description)


@secrets.command()
@click.argument("slot")
@_FROM_ENV
@_FILE
@pass_settings
def rotate(settings: Settings, slot: str, from_env: str | None, file: str | None) -> None:
    """Set a new value in an existing SLOT."""
    settings.client().secrets.get(slot)
    _put(settings, slot, _given(from_env, file, slot), None)


def _put(settings: Settings, slot: str, value: str, description: str | None) -> None:
    done = settings.client().secrets.put(slot, value, description)
    emit(settings, done, ids=[slot], human=lambda: say(f"Stored as {slot}, version {done['version']}."))


@secrets.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, help="The maximum number of slots.")
@click.option("--cursor", help="The cursor of the next page.")
@pass_settings
def show_all(settings: Settings, limit: int, cursor: str | None) -> None:
    """List slots, without values."""
    page = settings.client().secrets.list(limit=limit, cursor=cursor)
    listing(settings, page, "slot", _COLUMNS, "No secrets; `kheish secrets set SLOT` adds one.")


@secrets.command()
@click.argument("slot")
@pass_settings
def show(settings: Settings, slot: str) -> None:
    """Show SLOT without its value."""
    found = settings.client().secrets.get(slot)
    emit(settings, found, ids=[slot], human=lambda: details(found))


@secrets.command()
@pass_settings
def rekey(settings: Settings) -> None:
    """Re-encrypt all slots for the keys in secrets/recipients.txt."""
    page = settings.client().secrets.rekey()
    names = [one["slot"] for one in page["items"]]
    emit(settings, page, ids=names, human=lambda: say(f"Re-encrypted: {', '.join(names) or 'nothing'}."))


@secrets.command()
@click.argument("slot")
@pass_settings
def remove(settings: Settings, slot: str) -> None:
    """Remove SLOT. git keeps the encrypted value: if it may have leaked, rotate the credential itself."""
    settings.client().secrets.remove(slot)
    emit(settings, {"slot": slot, "removed": True}, ids=[slot], human=lambda: say(f"Removed {slot}."))


@secrets.command()
@click.argument("slot")
@pass_settings
def reveal(settings: Settings, slot: str) -> None:
    """Print the value of SLOT, and record that in the audit.

    This works only on this machine, with the identity: the API never returns a value.
    """
    from kheish.ids import check_slug
    from kheish.store import secrets as store

    root = settings.root()
    path = root / store.path_of(check_slug(slot, "slot"))
    if not path.is_file():
        raise NotFound(f"There is no secret in the slot {slot!r}.")
    value = store.decrypt(path.read_bytes(), store.read_identity(store.identity_path(os.environ)))
    try:
        Settings(state_root=str(root)).client().secrets.revealed(slot)
    except Unreachable:
        store.note_reveal(root, slot)
    emit(settings, {"slot": slot, "value": value}, ids=[value], human=lambda: click.echo(value))
