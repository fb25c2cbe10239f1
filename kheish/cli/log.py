"""`kheish log`: the commits of the state root, newest first; read from git directly if no daemon answers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit, paint, plain, say, when
from kheish.errors import Unreachable
from kheish.ids import stamp

_FIELDS = ("commit", "at", "author", "message")
#: fields and records are separated by characters that no message contains
_FORMAT = "%H%x1f%aI%x1f%an%x1f%s%x1e"


@command()
@click.argument("session", required=False, type=Id("session"))
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="The maximum number.")
@click.option("--cursor", help="The cursor of the next page.")
@pass_settings
def log(settings: Settings, session: str | None, limit: int, cursor: str | None) -> None:
    """List the commits of the state root, or of one SESSION, newest first."""
    try:
        page: dict[str, Any] = {**settings.client().log(session=session, limit=limit, cursor=cursor)}
    except Unreachable:
        if settings.url or cursor or not (settings.root() / ".git").exists():
            raise
        page = {"items": from_git(settings.root(), session, limit), "next_cursor": None}
        if settings.output == "table":
            click.echo("The daemon is not reachable; reading git directly.", err=True)

    history(settings, page)


def history(settings: Settings, page: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> None:
    """Print a page of commits; `notes` maps a commit to a remark."""

    def human() -> None:
        for one in page["items"]:
            by = paint(plain(f"({_author(one)})"), dim=True)
            said = plain(str(one.get("message") or "").split("\n", 1)[0])
            note = (notes or {}).get(_commit(one))
            more = f"  {paint(plain(f'[{note}]'), fg='cyan')}" if note else ""
            say(f"{paint(_commit(one)[:8], fg='yellow')}  {_at(one)}  {said}  {by}{more}")
        if page.get("next_cursor"):
            click.echo(f"More results: --cursor {page['next_cursor']}", err=True)

    emit(settings, page, ids=[_commit(one) for one in page["items"]], human=human)


def from_git(root: Path, session: str | None, limit: int) -> list[dict[str, str]]:
    """Return the newest commits, read with the `git` command. Raise Unreachable if that fails, too."""
    chosen = [f"--grep=^Kheish-Session: {re.escape(session)}$"] if session else []
    from kheish.store.git import command as git

    try:
        done = git.run(root, ("log", f"--max-count={limit}", f"--format={_FORMAT}", *chosen), timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unreachable(f"No daemon serves {root}, and git cannot be run: {error}.") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().split("\n", 1)[0]
        raise Unreachable(f"No daemon serves {root}, and git cannot read its log: {said}.")
    records = [record.strip("\n").split("\x1f") for record in done.stdout.decode(errors="replace").split("\x1e")]
    return [dict(zip(_FIELDS, record, strict=True)) for record in records if len(record) == len(_FIELDS)]


def _commit(one: dict[str, Any]) -> str:
    return str(one.get("commit") or one.get("id") or "")


def _author(one: dict[str, Any]) -> str:
    author = one.get("author")
    return str(author.get("name") if isinstance(author, dict) else author or "")


def _at(one: dict[str, Any]) -> str:
    """Return the commit's local time, from text or from seconds."""
    seconds = one.get("time")
    return when(stamp(seconds) if isinstance(seconds, (int, float)) else one.get("at") or seconds)
