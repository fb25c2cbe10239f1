"""`kheish tokens`: who else may call the daemon, and as what."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import emit, listing, say, when

_COLUMNS = (
    ("NAME", "name"),
    ("ROLE", "role"),
    ("PERSON", "person"),
    ("SESSIONS", lambda one: ", ".join(one["sessions"])),
    ("MADE", lambda one: when(one["created_at"])),
    ("UNTIL", lambda one: when(one["expires_at"])),
)


@group()
def tokens() -> None:
    """Who else may call the daemon, and as what."""


@tokens.command()
@click.argument("name")
@click.option("--role", required=True, help="admin, operator, approver, reader, ingress:CONNECTOR, observer:SOURCE.")
@click.option("--person", help="Who is behind it: approvals that need two persons count persons.")
@click.option("--session", "sessions", multiple=True, help="The only sessions that it may see (`*` allowed).")
@click.option("--expires", help="When it ends to count: 30d, 12h from now. Without it, never.")
@pass_settings
def create(
    settings: Settings, name: str, role: str, person: str | None, sessions: tuple[str, ...], expires: str | None
) -> None:
    """Make a token and print it, for the only time."""
    made = settings.client().tokens.create(name, role, person=person, sessions=sessions, expires=expires)
    emit(settings, made, ids=[made["token"]], human=lambda: say(made["token"]))


@tokens.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, help="How many at most.")
@click.option("--cursor", help="Go on from here.")
@pass_settings
def show_all(settings: Settings, limit: int, cursor: str | None) -> None:
    """List tokens."""
    page = settings.client().tokens.list(limit=limit, cursor=cursor)
    listing(settings, page, "name", _COLUMNS, "There is only the local token of .kheish/token.")


@tokens.command()
@click.argument("name")
@pass_settings
def revoke(settings: Settings, name: str) -> None:
    """Let a token count no more, from this moment on."""
    settings.client().tokens.revoke(name)
    emit(settings, {"name": name, "revoked": True}, ids=[name], human=lambda: say(f"Revoked {name}."))
