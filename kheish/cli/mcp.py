"""`kheish mcp`: manage MCP servers, start them, and call their tools."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kheish.cli import asking, logging_in
from kheish.cli.definitions import commands, json_object, read_file
from kheish.cli.options import Group, Settings, pass_settings
from kheish.cli.output import Column, emit, listing, plain, say, table, when

if TYPE_CHECKING:
    from kheish.client.mcp_import import Imported
    from kheish.client.shapes import McpLogin

mcp = commands("mcp", "MCP server", "Manage MCP servers: their files, logins and tools; start them, call their tools.")
_TOOLS: tuple[Column, ...] = (("TOOL", "name"), ("EFFECT", "effect"), ("PROBLEM", "problem"))


@mcp.command()
@click.argument("name")
@click.option("--session", metavar="ID", help="The session, for a server with `per: session`.")
@pass_settings
def connect(settings: Settings, name: str, session: str | None) -> int:
    """Start a server, and show its state and its tools."""
    found = settings.client().mcp.connect_server(name, session=session)

    def human() -> None:
        negotiated = found["negotiated"]
        spoken = f", {negotiated['server'] or 'a server'} with protocol {negotiated['version']}" if negotiated else ""
        say(plain(f"{name} is {found['state']}{spoken}{': ' + found['last_error'] if found['last_error'] else ''}."))
        if found["tools"]:
            table(found["tools"], _TOOLS)

    emit(settings, found, ids=[one["name"] for one in found["tools"]], human=human)
    return 0 if found["state"] == "ready" else 1


@mcp.command()
@click.argument("name")
@click.argument("tool")
@click.argument("arguments", default="{}", metavar="[JSON|-]")
@click.option("--session", metavar="ID", help="The session, for a server with `per: session`.")
@pass_settings
def call(settings: Settings, name: str, tool: str, arguments: str, session: str | None) -> int:
    """Call a tool of a server with its arguments as JSON (`-`: stdin), and print the result."""
    given = json_object(arguments, "The arguments", '{"path": "a.txt"}')
    answer = settings.client().mcp.call_tool(name, tool, arguments=given, session=session)
    emit(settings, answer, ids=[], human=lambda: say(plain(answer["content"])))
    return 1 if answer["is_error"] else 0


@mcp.command()
@pass_settings
def serve(settings: Settings) -> None:
    """Serve one MCP client on stdin and stdout: tools for runs, Flows, sessions and Playbooks of the daemon."""
    from kheish.protocols.mcp import stdio

    stdio.serve(settings.url, None, settings.state_root)


# --- logins -----------------------------------------------------------------------------------------------------------


@mcp.command()
@click.argument("name")
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@click.option("--no-wait", is_flag=True, help="Print the page, and do not wait for the login.")
@pass_settings
def login(settings: Settings, name: str, opens: bool, no_wait: bool) -> int:
    """Log in at a server with `auth: {oauth: {}}`: print the page to open, and wait until it is done."""
    return logging_in.follow(settings, name, _began(settings, name), opens=opens, waits=not no_wait)


@mcp.group(cls=Group)
def oauth() -> None:
    """List, begin, renew and revoke logins at MCP servers."""


@oauth.command("list")
@pass_settings
def list_logins(settings: Settings) -> None:
    """List the logins at MCP servers."""
    page = settings.client().access.accounts()
    rows = [one for one in page["items"] if one["kind"] == "oauth" and one["slot"].startswith("mcp.")]
    columns: tuple[Column, ...] = (
        ("SERVER", lambda one: one["audiences"][0].partition(":")[2]),
        ("ISSUER", "issuer"),
        ("STATE", "status"),
        ("UNTIL", lambda one: when(one["expires_at"]) if one["expires_at"] else None),
        ("SLOT", "slot"),
    )
    none = "No logins at MCP servers; `kheish mcp login SERVER` begins one."
    listing(settings, {**page, "items": rows}, "account_id", columns, none)


@oauth.command("login")
@click.argument("name")
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@pass_settings
def oauth_login(settings: Settings, name: str, opens: bool) -> int:
    """Log in at a server, as `kheish mcp login` does."""
    return logging_in.follow(settings, name, _began(settings, name), opens=opens, waits=True)


@oauth.command()
@click.argument("name")
@pass_settings
def refresh(settings: Settings, name: str) -> None:
    """Renew the tokens of a server now."""
    settings.client().access.refresh_account(name)
    emit(settings, {"server": name, "renewed": True}, ids=[name], human=lambda: say(f"The login at {name} is renewed."))


@oauth.command()
@click.argument("name")
@pass_settings
def revoke(settings: Settings, name: str) -> None:
    """Remove the tokens of a server, and revoke them at their issuer."""
    settings.client().access.remove_account(name)
    emit(settings, {"server": name, "removed": True}, ids=[name], human=lambda: say(f"The login at {name} is removed."))


def _began(settings: Settings, name: str) -> McpLogin:
    return settings.client().access.add_account(server=name)


# --- import -----------------------------------------------------------------------------------------------------------


@mcp.command("import")
@click.argument("file")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_settings
def import_(settings: Settings, file: str, yes: bool) -> int:
    """Import the servers of another program's FILE: `mcpServers` (Claude, Cursor), or `servers` (VS Code).

    Values that look like secrets become slots. The servers run unconfined (`sandbox: off`) until you change that.
    """
    from kheish.client import mcp_import

    try:
        found = mcp_import.read(read_file(file))
    except mcp_import.Unreadable as error:
        raise click.UsageError(f"{file} cannot be imported: {error}.") from error
    client = settings.client()
    there = {one["id"] for one in client.mcp.list(limit=200)["items"]}
    slots = {one["slot"] for one in client.secrets.list()["items"]}
    for one in found:
        if one.id in there:
            one.refusal = "a server of this name exists"
        elif taken := sorted(slots & one.secrets.keys()):
            one.refusal = f"the slot {taken[0]} exists"
    usable = [one for one in found if one.refusal is None]
    if usable and not yes:
        lines = [f"    {one.id}: {_words(one)}" for one in usable]
        asking.confirm("Add them?", ["These servers are added, and start when a run needs them:", *lines])
    for one in usable:
        for slot, value in one.secrets.items():
            client.secrets.put(slot, value, f"for the MCP server {one.id}")
        client.mcp.put(one.id, one.file)
    rows = [
        {
            "id": one.id, "imported": one.refusal is None, "slots": sorted(one.secrets), "to_set": one.open_slots,
            "notes": [*([one.refusal] if one.refusal else []), *one.notes],
        }
        for one in found
    ]  # fmt: skip
    emit(settings, {"items": rows}, ids=[one.id for one in usable], human=lambda: _imported(rows))
    return 0 if usable or not found else 1


def _words(one: Imported) -> str:
    return shlex.join([one.file["command"], *one.file["args"]]) if "command" in one.file else str(one.file["url"])


def _imported(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        say(plain(f"{row['id']}: {'imported' if row['imported'] else 'not imported'}"))
        for slot in row["slots"]:
            say(plain(f"    its secret is in the slot {slot}"))
        for slot in row["to_set"]:
            say(plain(f"    set its secret: kheish secrets set {slot}"))
        for note in row["notes"]:
            say(plain(f"    {note}"))
