"""`kheish trust`: list versions, servers, hooks, outputs, skills that run something without asking, and trust one."""

from __future__ import annotations

import click

from kheish.cli import asking
from kheish.cli.options import Settings, command, page_options, pass_settings
from kheish.cli.output import emit, listing, plain, say, when

_SKILLS, _SERVERS, _HOOKS, _OUTPUTS = "skills/", "mcp/", "hooks/", "outputs/"
_COLUMNS = (
    ("NAME", "name"),
    ("STATE", "state"),
    ("DIGEST", lambda one: one["digest"][:12]),
    ("BY", "trusted_by"),
    ("SINCE", lambda one: when(one["trusted_at"]) if one["trusted_at"] else None),
    ("COMMANDS", lambda one: "; ".join(one["commands"]) if one["commands"] is not None else "?"),
)


@command()
@click.argument("name", required=False, metavar="[ID@VERSION|mcp/ID|hooks/ID|outputs/ID|skills/ID]")
@click.option("--digest", help="The digest that you reviewed; only that content is trusted.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@page_options
@pass_settings
def trust(
    settings: Settings, name: str | None, digest: str | None, yes: bool, limit: int | None, cursor: str | None
) -> None:
    """List versions, MCP servers, hooks, outputs and skills that run something without asking, or trust one after a
    review of its commands."""
    client = settings.client().trust
    if name is None and (digest or yes):
        raise click.UsageError("--digest and --yes are about one: kheish trust ID@VERSION, hooks/ID, mcp/ID, …")
    if name is not None and (limit or cursor):
        raise click.UsageError("--limit and --cursor are for the list, without a name.")
    if name is None:
        page = client.list(limit=limit, cursor=cursor)
        none = "No playbook, MCP server, hook or output runs commands without asking, and no skill allows calls."
        listing(settings, page, "name", _COLUMNS, none)
        return
    folder, id = _file(name)
    name = f"{folder}{id}"
    readers = {
        _SKILLS: client.trusted_skill,
        _SERVERS: client.trusted_server,
        _HOOKS: client.trusted_hook,
        _OUTPUTS: client.trusted_output,
    }
    one = readers.get(folder, client.get)(id)
    if one["state"] == "waiting" and not yes:
        _ask(name, one["digest"], one["commands"] or [], one["bound"])
    done = client.allow(name, digest or one["digest"])

    def human() -> None:
        say(plain(f"{name} is trusted (digest {done['digest'][:12]})."))
        if folder == _HOOKS:
            say(plain(f"    {_bound(done['bound'])}"))

    emit(settings, done, ids=[name], human=human)


def _file(name: str) -> tuple[str, str]:
    """Return the folder and the id in `skills/pdf`, `skills/pdf/SKILL.md`, or `mcp/every.yaml`; no folder for a
    version."""
    for folder, suffix in ((_SKILLS, "/SKILL.md"), (_SERVERS, ".yaml"), (_HOOKS, ".yaml"), (_OUTPUTS, ".yaml")):
        if name.startswith(folder):
            return folder, name.removeprefix(folder).removesuffix(suffix).rstrip("/")
    return "", name


def _bound(files: list[str]) -> str:
    return f"bound: {', '.join(files)}" if files else "bound: its own file only"


def _ask(name: str, digest: str, commands: list[str], bound: list[str]) -> None:
    if name.startswith(_SKILLS):
        what = "allows these calls without asking:" if commands else "allows no calls; trust has no effect."
        who = f"A run that uses {name}"
    elif name.startswith((_HOOKS, _OUTPUTS)):
        what = "runs this by itself:" if commands else "runs nothing that needs trust."
        who = name
    elif name.startswith(_SERVERS):
        what = "starts this by itself:" if commands else "starts no command."
        who = name
    else:
        what = "run these without asking:" if commands else "run no command without asking; once trusted, they can be "
        what += "" if commands else "started."
        who = f"Flows of {name}"
    files = [_bound(bound)] if name.startswith(_HOOKS) else []
    shown = [f"    {line}" for line in (*commands, *files)]
    asking.confirm("Trust them?", [f"{who} (digest {digest[:12]}) {what}", *shown])
