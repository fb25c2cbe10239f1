"""`kheish trust`: list versions that run commands without asking, and trust one."""

from __future__ import annotations

import sys

import click

from kheish.cli.options import Settings, command, page_options, pass_settings
from kheish.cli.output import emit, listing, plain, say, when
from kheish.errors import Invalid

_COLUMNS = (
    ("NAME", "name"),
    ("STATE", "state"),
    ("DIGEST", lambda one: one["digest"][:12]),
    ("BY", "trusted_by"),
    ("SINCE", lambda one: when(one["trusted_at"]) if one["trusted_at"] else None),
    ("COMMANDS", lambda one: "; ".join(one["commands"]) if one["commands"] is not None else "?"),
)


@command()
@click.argument("name", required=False, metavar="[ID@VERSION]")
@click.option("--digest", help="The digest that you reviewed; only that content is trusted.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@page_options
@pass_settings
def trust(
    settings: Settings, name: str | None, digest: str | None, yes: bool, limit: int | None, cursor: str | None
) -> None:
    """List the versions that run commands without asking, or trust ID@VERSION after a review of its commands."""
    client = settings.client().trust
    if name is None and (digest or yes):
        raise click.UsageError("--digest and --yes are about one version: kheish trust ID@VERSION.")
    if name is not None and (limit or cursor):
        raise click.UsageError("--limit and --cursor are for the list, without ID@VERSION.")
    if name is None:
        page = client.list(limit=limit, cursor=cursor)
        listing(settings, page, "name", _COLUMNS, "No version of a playbook runs commands without asking.")
        return
    one = client.get(name)
    if one["state"] == "waiting" and not yes:
        _ask(name, one["digest"], one["commands"] or [])
    done = client.allow(name, digest or one["digest"])
    emit(settings, done, ids=[name], human=lambda: say(plain(f"{name} is trusted (digest {done['digest'][:12]}).")))


def _ask(name: str, digest: str, commands: list[str]) -> None:
    what = (
        "run these without asking:" if commands else "run no command without asking; once trusted, they can be started."
    )
    click.echo(plain(f"Flows of {name} (digest {digest[:12]}) {what}"), err=True)
    for line in commands:
        click.echo(plain(f"    {line}"), err=True)
    if not sys.stdin.isatty():
        raise Invalid("There is no terminal for a prompt; read the above, then pass --yes.")
    click.confirm("Trust them?", abort=True, err=True)
