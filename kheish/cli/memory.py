"""`kheish memory`: list, show, edit, log, diff, proposals, accept, reject, revoke, search, promote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, at_option, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, plain, say, when

if TYPE_CHECKING:
    from kheish.client import Kheish

_FOLDERS = {"shared": "shared", "personas": "persona", "projects": "project", "sessions": "session"}
_NO_OWNER = "-"
_NEW = "---\ndescription:\n---\n\n"
_PROPOSAL = "prop_"
COLUMNS: list[Column] = [
    ("PATH", "path"),
    ("ORIGIN", "origin"),
    ("LOAD", "load"),
    ("BYTES", "bytes"),
    ("CHANGED", lambda file: when(file["at"])),
    ("DESCRIPTION", "description"),
]
PROPOSALS: list[Column] = [
    ("PROPOSAL", "proposal_id"),
    ("STATUS", "status"),
    ("CHANGE", "operation"),
    ("PATH", "path"),
    ("SESSION", "session_id"),
    ("TAINTED BY", lambda one: one["tainted_by"] or ""),
    ("AT", lambda one: when(one["at"])),
]


@group()
def memory() -> None:
    """Show and edit agents' memory, and decide on their proposals.

    A PATH is that of the file in the state root: memory/shared/deploy.md, or shared/deploy.md.
    """


@memory.command("list")
@click.option("--scope", type=click.Choice(list(_FOLDERS.values())), help="Only this scope.")
@click.option("--owner", help="Only files of this persona, project or session.")
@click.option("--origin", type=click.Choice(["person", "agent"]), help="Only files that a user, or an agent, wrote.")
@page_options
@pass_settings
def list_(
    settings: Settings, scope: str | None, owner: str | None, origin: str | None, limit: int | None, cursor: str | None
) -> None:
    """List memory files by path."""
    page = settings.client().memory.list(scope=scope, owner=owner, origin=origin, limit=limit, cursor=cursor)
    listing(settings, page, "path", COLUMNS, fitting("There are no memory files.", scope, owner, origin))


@memory.command()
@click.argument("path")
@at_option
@pass_settings
def show(settings: Settings, path: str, at: str | None) -> None:
    """Show a file as written, now or at an earlier revision; --output json or yaml includes its origin."""
    client = settings.client()
    if settings.output == "table" and not settings.quiet:
        return say(plain(client.memory.text(*_place(path), at=at).text.rstrip("\n")))
    found = client.memory.get(*_place(path), at=at)
    return emit(settings, found, ids=[found["path"]], human=lambda: None)


@memory.command()
@click.argument("path")
@pass_settings
def edit(settings: Settings, path: str) -> None:
    """Edit a file in your editor (EDITOR), or create it; it is a user's file then."""
    from kheish.errors import NotFound

    client, place = settings.client(), _place(path)
    try:
        before = client.memory.text(*place)
    except NotFound:
        before = None
    text, etag = (before.text, before.etag) if before is not None else (_NEW, None)
    changed = click.edit(text, extension=".md")
    if changed is None or changed == text:
        return click.echo("No changes.", err=True)
    stored = client.memory.put(*place, changed, if_match=etag)
    return emit(settings, stored, ids=[stored["path"]], human=lambda: say(f"{stored['path']} is stored."))


@memory.command()
@click.argument("path")
@page_options
@pass_settings
def log(settings: Settings, path: str, limit: int | None, cursor: str | None) -> None:
    """List the commits that changed a file, newest first."""
    from kheish.cli.log import history

    page: dict[str, Any] = {**settings.client().memory.history(*_place(path), limit=limit, cursor=cursor)}
    history(settings, page)


@memory.command()
@click.argument("path", metavar="PATH|PROPOSAL")
@click.argument("since", metavar="[FROM]", required=False)
@click.argument("until", metavar="[TO]", required=False)
@pass_settings
def diff(settings: Settings, path: str, since: str | None, until: str | None) -> None:
    """Show the change of a file between two revisions (by default its last change), or the change that a proposal would
    make now."""
    client = settings.client()
    if path.startswith(_PROPOSAL):
        text = _proposed(client, path)
    else:
        text = _between(client, path, since, until)
    document = {"path": path, "diff": text}
    emit(settings, document, ids=[path], human=lambda: say(plain(text.rstrip("\n")) if text else "No changes."))


def _between(client: Kheish, path: str, since: str | None, until: str | None) -> str:
    """Return the diff of a file between two revisions; without them, of its last commit."""
    if since is None:
        commits = client.memory.history(*_place(path), limit=2)["items"]
        until = commits[0]["commit"] if commits else None
        since = commits[1]["commit"] if len(commits) > 1 else None
        before = _text(client, path, since) if since is not None else ""
        return _unified(path, before, _text(client, path, until))
    return _unified(path, _text(client, path, since), _text(client, path, until))


def _proposed(client: Kheish, proposal: str) -> str:
    """Return the whole diff between the present file and a proposal's content."""
    one = client.memory.proposal(proposal)
    if one["operation"] == "rename":
        return str(one["diff"])
    return _unified(one["path"], _text(client, one["path"], None), str(one["content"] or ""))


def _text(client: Kheish, path: str, at: str | None) -> str:
    """Return a file's text at a revision; empty if it is missing then."""
    from kheish.errors import NotFound

    try:
        return str(client.memory.text(*_place(path), at=at).text)
    except NotFound:
        return ""


def _unified(path: str, before: str, after: str) -> str:
    from difflib import unified_diff

    lines = unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


@memory.command()
@click.argument("proposal", required=False)
@click.option("--session", type=Id("session"), help="Only proposals of this session.")
@click.option("--status", default="pending", show_default=True, help="Only proposals with this status, or `all`.")
@page_options
@pass_settings
def proposals(
    settings: Settings,
    proposal: str | None,
    session: str | None,
    status: str,
    limit: int | None,
    cursor: str | None,
) -> None:
    """List changes that agents proposed, newest first, or show one PROPOSAL with its whole diff."""
    client = settings.client()
    if proposal is not None:
        return _show_proposal(settings, client, proposal)
    page = client.memory.proposals(
        session=session, status=None if status == "all" else status, limit=limit, cursor=cursor
    )
    none = fitting("No pending proposals.", session, None if status == "pending" else status)
    return listing(settings, page, "proposal_id", PROPOSALS, none)


def _show_proposal(settings: Settings, client: Kheish, proposal: str) -> None:
    one = client.memory.proposal(proposal)

    def human() -> None:
        details({name: value for name, value in one.items() if name not in ("diff", "content", "is_whole", "n")})
        say()
        say(plain((one["diff"] if one["is_whole"] else _proposed(client, proposal)).rstrip("\n")))

    emit(settings, one, ids=[proposal], human=human)


@memory.command()
@click.argument("what", metavar="PROPOSAL|PATH")
@click.option("--reason", help="The reason, kept in the journal.")
@click.option("--digest", help="Accept the file only with this sha256 (a prefix is enough).")
@pass_settings
def accept(settings: Settings, what: str, reason: str | None, digest: str | None) -> None:
    """Accept a proposal, which makes its change; or a file, which is a user's from then on."""
    client = settings.client()
    if what.startswith(_PROPOSAL):
        return _decided(settings, client.memory.decide(what, "accept", reason))
    file = client.memory.accept(_path(what), digest=digest)
    return emit(settings, file, ids=[file["path"]], human=lambda: say(f"{file['path']} is a user's file."))


@memory.command()
@click.argument("proposal")
@click.option("--reason", help="The reason, kept in the journal.")
@pass_settings
def reject(settings: Settings, proposal: str, reason: str | None) -> None:
    """Reject a proposal; nothing changes."""
    _decided(settings, settings.client().memory.decide(proposal, "reject", reason))


@memory.command()
@click.argument("path")
@pass_settings
def revoke(settings: Settings, path: str) -> None:
    """Make a user's file an agent's: the prompt lists it at most."""
    file = settings.client().memory.revoke(_path(path))
    emit(settings, file, ids=[file["path"]], human=lambda: say(f"{file['path']} counts as an agent's file."))


@memory.command()
@click.argument("words")
@click.option("--scope", type=click.Choice(list(_FOLDERS.values())), help="Only this scope.")
@click.option("--owner", help="Only files of this persona, project or session.")
@click.option("--limit", type=click.IntRange(1, 200), help="The maximum number of results (50).")
@pass_settings
def search(settings: Settings, words: str, scope: str | None, owner: str | None, limit: int | None) -> None:
    """Search memory files: all words, "a phrase", or beginnings of words (deplo*)."""
    page = settings.client().memory.list(q=words, scope=scope, owner=owner, limit=limit)
    columns: list[Column] = [("PATH", "path"), ("ORIGIN", "origin"), ("MATCH", "snippet")]
    listing(settings, page, "path", columns, "No matches.")


@memory.command()
@click.argument("path", metavar="FILE")
@click.option("--skill", required=True, help="The name of the skill.")
@pass_settings
def promote(settings: Settings, path: str, skill: str) -> None:
    """Write the draft of a skill from a memory file, for you to review and rename to SKILL.md."""
    draft = settings.client().memory.promote(_path(path), skill)
    emit(
        settings,
        draft,
        ids=[draft["path"]],
        human=lambda: say(f"The draft is {draft['path']}. Review it, and rename it to SKILL.md."),
    )


def _decided(settings: Settings, one: Mapping[str, Any]) -> None:
    line = f"{one['proposal_id']} is {one['status']}: {one['path']}"
    emit(settings, one, ids=[one["proposal_id"]], human=lambda: say(plain(line)))


def _path(path: str) -> str:
    """Return the path of a file in the state root."""
    return path if path.startswith("memory/") else f"memory/{path}"


def _place(path: str) -> tuple[str, str, str]:
    """Return the scope, owner and name of a file, as the API's addresses have them. Raises UsageError."""
    words = _path(path).split("/")[1:]
    scope = _FOLDERS.get(words[0])
    if scope == "shared" and len(words) == 2:
        return scope, _NO_OWNER, words[1]
    if scope is None or scope == "shared" or len(words) != 3:
        raise click.UsageError(
            f"{path} is no memory file; write shared/NAME.md, personas/ID/NAME.md or sessions/ID/NAME.md."
        )
    return scope, words[1], words[2]
