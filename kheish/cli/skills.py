"""`kheish skills`: list skills, also those of a session's workspace, and manage those of the state root."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kheish.cli.definitions import read_file, sources, verdict
from kheish.cli.ids import Id
from kheish.cli.options import Settings, at_option, group, page_options, pass_settings
from kheish.cli.output import Column, emit, listing, plain, say

_FILE = "SKILL.md"
_SESSION = click.option("--session", type=Id("session"), help="Also the skills in the workspace of this session.")


@group("skills", help="Manage skills: list, show, edit, put, validate, remove.")
def skills() -> None:
    pass


sources(skills, "skills", "skill")


def _use(one: Mapping[str, Any]) -> str:
    if one["shadowed_by"] is not None:
        return f"shadowed by {one['shadowed_by']}"
    who = [name for name, may in (("model", one["model_invocable"]), ("users", one["user_invocable"])) if may]
    return ", ".join(who)


def _trust(one: Mapping[str, Any]) -> str | None:
    return None if one["trusted"] is None else "yes" if one["trusted"] else "no"


_COLUMNS: list[Column] = [
    ("NAME", "name"),
    ("FROM", "dir"),
    ("STARTED BY", _use),
    ("TRUSTED", _trust),
    ("PROBLEMS", lambda one: len(one["problems"]) or None),
    ("DESCRIPTION", "description"),
]


@skills.command("list")
@_SESSION
@page_options
@pass_settings
def list_(settings: Settings, session: str | None, limit: int | None, cursor: str | None) -> None:
    """List the skills, where they come from, and who may start them."""
    page = settings.client().skills.list(session=session, limit=limit, cursor=cursor)
    listing(settings, page, "name", _COLUMNS, "No skills; `kheish skills add NAME FILE` adds one.")


@skills.command()
@click.argument("name")
@_SESSION
@at_option
@pass_settings
def show(settings: Settings, name: str, session: str | None, at: str | None) -> None:
    """Show a skill as written; --output json or yaml includes its status."""
    client = settings.client().skills
    if settings.output == "table" and not settings.quiet:
        return say(plain(client.text(name, session=session, at=at).text.rstrip("\n")))
    return emit(settings, client.get(name, session=session, at=at), ids=[name], human=lambda: None)


@skills.command()
@click.argument("what", metavar="FILE|FOLDER|NAME")
@pass_settings
def validate(settings: Settings, what: str) -> int:
    """Check a SKILL.md (`-`: stdin), a folder with one, or an existing skill; nothing is changed."""
    client, path = settings.client().skills, Path(what)
    file = path / _FILE if path.is_dir() else path
    is_file = what == "-" or file.is_file()
    content = read_file(what if what == "-" else str(file)) if is_file else client.text(what).text
    name = None if what == "-" else file.absolute().parent.name if is_file else what
    return verdict(settings, client.validate(content, name=name), what)
