"""`kheish tokens`: manage the API tokens of other callers."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import emit, listing, say, when

_COLUMNS = (
    ("NAME", "name"),
    ("ROLE", "role"),
    ("PERSON", "person"),
    ("SESSIONS", lambda one: ", ".join(one["sessions"])),
    ("PROJECTS", lambda one: ", ".join(one["projects"])),
    ("CREATED", lambda one: when(one["created_at"])),
    ("EXPIRES", lambda one: when(one["expires_at"])),
)


@group()
def tokens() -> None:
    """Manage the API tokens of other callers."""


@tokens.command()
@click.argument("name")
@click.option("--role", required=True, help="admin, operator, approver, reader, ingress:CONNECTOR, observer:SOURCE.")
@click.option("--person", help="The person who uses it; approvals by two people require it.")
@click.option("--session", "sessions", multiple=True, help="Restrict it to these sessions (globs); may be repeated.")
@click.option("--project", "projects", multiple=True, help="Restrict it to these projects and their sessions (globs).")
@click.option("--expires", help="Its lifetime, such as 30d or 12h (default: unlimited).")
@pass_settings
def create(
    settings: Settings,
    name: str,
    role: str,
    person: str | None,
    sessions: tuple[str, ...],
    projects: tuple[str, ...],
    expires: str | None,
) -> None:
    """Create a token and print it; it cannot be shown again."""
    made = settings.client().tokens.create(
        name, role, person=person, sessions=sessions, projects=projects, expires=expires
    )
    emit(settings, made, ids=[made["token"]], human=lambda: say(made["token"]))


@tokens.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, help="The maximum number of tokens.")
@click.option("--cursor", help="The cursor of the next page.")
@pass_settings
def show_all(settings: Settings, limit: int, cursor: str | None) -> None:
    """List tokens."""
    page = settings.client().tokens.list(limit=limit, cursor=cursor)
    listing(settings, page, "name", _COLUMNS, "No tokens except the local one in .kheish/token.")


@tokens.command()
@click.argument("name")
@pass_settings
def revoke(settings: Settings, name: str) -> None:
    """Revoke a token with immediate effect."""
    settings.client().tokens.revoke(name)
    emit(settings, {"name": name, "revoked": True}, ids=[name], human=lambda: say(f"Revoked {name}."))
