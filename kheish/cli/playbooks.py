"""`kheish playbooks`: manage procedures, their versions and releases."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.cells import pad, width_of
from kheish.cli.definitions import commands, edited, read_file, stored, verdict
from kheish.cli.log import history
from kheish.cli.options import Settings, page_options, pass_settings
from kheish.cli.output import Column, details, emit, listing, paint, plain, say, when

if TYPE_CHECKING:
    from kheish.client.shapes import Evidence

_STATES = ("verified", "canary", "active", "revoked")
_TEMPLATE = """\
# yaml-language-server: $schema=../../schemas/playbook.schema.json
title: {name}
objective: What this procedure achieves.
phases:
  - id: investigate
    instructions: |
      Instructions for the agent.
    acceptance:
      - A condition that holds when the phase is complete.
    evidence:
      - {{kind: output, id: findings, description: The findings.}}
"""
_KINDS = {"added": "+", "removed": "-", "changed": "~"}

playbooks = commands("playbooks", "playbook", "Manage procedures: drafts (files) and versions (git tags, ID@VERSION).")


# --- drafts -----------------------------------------------------------------------------------------------------------


@playbooks.command("list")
@click.argument("id", required=False)
@page_options
@pass_settings
def list_(settings: Settings, id: str | None, limit: int | None, cursor: str | None) -> None:
    """List the playbooks; with ID, its versions, newest first."""
    client = settings.client().playbooks
    if id is None:
        page = client.list(limit=limit, cursor=cursor)
        none = "No playbooks; `kheish playbooks edit NAME` creates one."
        return listing(settings, page, "id", [("NAME", "id"), ("STATE", _state), ("TITLE", "title")], none)
    versions = client.versions(id, limit=limit, cursor=cursor)
    columns: list[Column] = [
        ("VERSION", "version"), ("STATE", _shown), ("PUBLISHED", lambda one: when(one["published_at"])),
        ("BY", "published_by"), ("DIGEST", lambda one: one["digest"][:12]), ("NOTES", "notes"),
    ]  # fmt: skip
    none = f"No version of {id} is published; `kheish playbooks publish {id} 1.0.0` publishes one."
    return listing(settings, versions, "version", columns, none)


@playbooks.command()
@click.argument("what", metavar="ID[@VERSION]")
@click.option("--at", help="At this revision: a commit, time or event number.")
@pass_settings
def show(settings: Settings, what: str, at: str | None) -> None:
    """Show the draft as written, or a version with its release."""
    client = settings.client().playbooks
    id, _, version = what.partition("@")
    if not version:
        if settings.output == "table" and not settings.quiet:
            return say(plain(client.text(id, at=at).text.rstrip("\n")))
        return emit(settings, client.get(id, at=at), ids=[id], human=lambda: None)
    found = client.version(id, version, at=at)

    def human() -> None:
        details({key: value for key, value in found.items() if key not in ("manifest", "n")})
        if found["manifest"] is not None:
            say()
            say(plain(client.version_text(id, version).rstrip("\n")))

    return emit(settings, found, ids=[f"{id}@{version}"], human=human)


@playbooks.command()
@click.argument("what", metavar="FILE|ID")
@click.option(
    "--offline", is_flag=True, help="Check without a daemon; references to routes and personas are not resolved."
)
@pass_settings
def validate(settings: Settings, what: str, offline: bool) -> int:
    """Check a file (`-`: stdin) or an existing draft; nothing is changed.

    Without a daemon, a file is checked on its own. The exit code is 1 if there are errors.
    """
    from kheish.errors import Unreachable

    is_file = what == "-" or Path(what).is_file()
    text = read_file(what) if is_file else None
    if text is None and offline:
        raise click.UsageError(f"No such file: {what}.")
    if not offline:
        client = settings.client().playbooks
        try:
            name = None if what == "-" else _name(Path(what)) if is_file else what
            content = text if text is not None else client.text(what).text
            return verdict(settings, client.validate(content, name=name), what)
        except Unreachable:
            if text is None:
                raise
            click.echo("The daemon is not reachable; references to routes and personas are not resolved.", err=True)
    from kheish.authoring.playbooks import files as playbook_files
    from kheish.store.edits import problems

    found = [problems.view(one) for one in playbook_files.parse((text or "").encode(), what).problems]
    valid = not any(one["severity"] == "error" for one in found)
    return verdict(settings, {"valid": valid, "problems": found}, what)


@playbooks.command()
@click.argument("what", metavar="FILE|ID[@VERSION]")
@pass_settings
def digest(settings: Settings, what: str) -> None:
    """Print the digest of a draft, a version, or a manifest file with the files beside it."""
    if Path(what).is_file():
        found = _digest_of_file(Path(what))
    else:
        client = settings.client().playbooks
        id, _, version = what.partition("@")
        found = client.version(id, version)["digest"] if version else client.get(id)["status"]["observed_digest"]
    emit(settings, {"digest": found}, ids=[found], human=lambda: say(found))


def _digest_of_file(file: Path) -> str:
    from kheish.authoring.playbooks import files as playbook_files
    from kheish.errors import Invalid

    try:
        return playbook_files.digest_of_file(file)
    except (OSError, ValueError) as error:
        raise Invalid(f"Cannot compute the digest of {file}: {error}.") from error


@playbooks.command()
@click.argument("name")
@pass_settings
def edit(settings: Settings, name: str) -> None:
    """Edit the draft in your editor (EDITOR); a new draft starts from a template.

    If the text is invalid, the errors are printed and you can edit it again.
    """
    from kheish.client.call import Text
    from kheish.errors import NotFound

    client = settings.client().playbooks
    try:
        before = client.text(name)
    except NotFound:
        before = Text(_TEMPLATE.format(name=name), None)
    found = edited(client, name, before)
    if found is None:
        return click.echo("No changes.", err=True)
    return stored(settings, name, found)


# --- versions ---------------------------------------------------------------------------------------------------------


@playbooks.command()
@click.argument("id")
@click.argument("version")
@click.option("--notes", help="What changed and why, kept in the tag message.")
@pass_settings
def publish(settings: Settings, id: str, version: str, notes: str | None) -> None:
    """Publish the draft as a version: the annotated tag playbook/ID/VERSION."""
    found = settings.client().playbooks.publish(id, version, notes=notes)
    emit(settings, found, ids=[f"{id}@{version}"], human=lambda: _print_release(found))


@playbooks.command()
@click.argument("what", metavar="ID@VERSION")
@click.argument("state", type=click.Choice(_STATES))
@click.option("--evidence", multiple=True, metavar="KIND:ID", help="Evidence for the release, such as run:run_01….")
@click.option("--attest", metavar="TEXT", help="A statement of your own as evidence.")
@click.option("--percent", type=float, help="For canary: the percentage of starts that use it.")
@click.option("--reason", help="The reason, kept in the journal.")
@pass_settings
def release(
    settings: Settings,
    what: str,
    state: str,
    evidence: tuple[str, ...],
    attest: str | None,
    percent: float | None,
    reason: str | None,
) -> None:
    """Change the release of a version: published → verified → canary → active → revoked, or back to verified."""
    id, version = _split(what)
    given = _evidence(evidence, attest)
    client = settings.client().playbooks
    found: Any = client.release(id, version, state, evidence=given, percent=percent, reason=reason)

    def human() -> None:
        _print_release(found)
        commands = found["commands"] if state in ("verified", "canary", "active") else []
        if commands:
            say("Its Flows run these without asking: " + ", ".join(f"`{plain(one)}`" for one in commands))

    emit(settings, found, ids=[what], human=human)


@playbooks.command()
@click.argument("what", metavar="ID@VERSION")
@click.option("--reason", help="The reason, kept in the journal.")
@click.option("--cancel-flows", is_flag=True, help="Also cancel its running Flows.")
@pass_settings
def revoke(settings: Settings, what: str, reason: str | None, cancel_flows: bool) -> None:
    """Revoke a version for good: no new Flows start with it."""
    id, version = _split(what)
    client = settings.client().playbooks
    found: Any = client.release(id, version, "revoked", reason=reason, cancel_flows=cancel_flows)

    def human() -> None:
        _print_release(found)
        say(_live(found["live_flows"], cancel_flows))

    emit(settings, found, ids=[what], human=human)


@playbooks.command()
@click.argument("id")
@click.argument("before", required=False, metavar="[V1]")
@click.argument("after", required=False, metavar="[V2]")
@pass_settings
def diff(settings: Settings, id: str, before: str | None, after: str | None) -> None:
    """Show the changes from V1 (default: the newest version) to V2 (default: the draft), by field and as text."""
    found = settings.client().playbooks.diff(id, before, after)

    def human() -> None:
        if not found["fields"] and not found["text"]:
            return click.echo("No differences.", err=True)
        for one in found["fields"]:
            say(plain(f"{_KINDS[one['change']]} {one['path']}{_values(one)}"))
        say()
        for line in found["text"].splitlines():
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            say(paint(plain(line), fg=colour) if colour else plain(line))
        return None

    emit(settings, found, ids=[one["path"] for one in found["fields"]], human=human)


@playbooks.command()
@click.argument("id")
@page_options
@pass_settings
def log(settings: Settings, id: str, limit: int | None, cursor: str | None) -> None:
    """List the commits that changed the draft, newest first, with the versions published from them."""
    client = settings.client().playbooks
    page = client.history(id, limit=limit, cursor=cursor)
    notes = _published(page["items"], client.versions(id, limit=200)["items"])
    history(settings, page, notes={commit: ", ".join(named) for commit, named in notes.items()})


@playbooks.command()
@click.argument("what", metavar="ID[@VERSION]")
@pass_settings
def blame(settings: Settings, what: str) -> None:
    """Show the commit and author of each line of the manifest."""
    id, _, version = what.partition("@")
    page = settings.client().playbooks.blame(id, version or None)

    def human() -> None:
        width = max((width_of(plain(one["author"])) for one in page["items"]), default=0)
        for one in page["items"]:
            head = paint(f"{one['commit'][:8]} {pad(plain(one['author']), width)}", fg="yellow")
            say(f"{head}  {one['line']:4}  {plain(one['text'])}")

    emit(settings, page, ids=[one["commit"] for one in page["items"]], human=human)


# --- words ------------------------------------------------------------------------------------------------------------


def _live(count: int, cancelled: bool) -> str:
    """Return a sentence about the Flows of a revoked version."""
    if not count:
        return "It has no active Flows."
    if count == 1:
        return f"One Flow of it {'is being cancelled' if cancelled else 'continues'}."
    return f"{count} Flows of it {'are being cancelled' if cancelled else 'continue'}."


def _published(commits: Sequence[Mapping[str, Any]], versions: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the versions published from each commit.

    A tag may be on a later commit than the last change of the draft, so versions are matched by time.
    """
    from kheish.ids import seconds_of

    found: dict[str, list[str]] = {}
    for one in versions:
        at = seconds_of(one["published_at"])
        commit = next((commit["commit"] for commit in commits if commit["time"] <= at), None)
        if commit is not None:
            found.setdefault(commit, []).append(f"{one['version']} {one['state']}")
    return found


def _state(one: Mapping[str, Any]) -> object:
    return one["status"]["state"]


def _shown(one: Mapping[str, Any]) -> str:
    return f"{one['state']} {one['percent']:g} %" if one["percent"] is not None else str(one["state"])


def _split(what: str) -> tuple[str, str]:
    id, at, version = what.partition("@")
    if not at or not version:
        raise click.UsageError(f"{what!r} contains no version; use ID@VERSION, such as triage@1.0.0.")
    return id, version


def _name(file: Path) -> str | None:
    """Return the id of the Playbook in a file, which is the name of its folder; None for another file."""
    from kheish import ids

    name = file.resolve().parent.name
    return name if file.name == "playbook.yaml" and ids.is_slug(name) else None


def _evidence(given: tuple[str, ...], attest: str | None) -> list[Evidence]:
    found: list[Evidence] = []
    for text in given:
        kind, colon, id = text.partition(":")
        if not colon or not id:
            raise click.UsageError(f"{text!r} is not valid evidence; use KIND:ID, such as run:run_01… or commit:HEAD.")
        found.append({"kind": kind, "id": id})
    if attest is not None:
        found.append({"kind": "attestation", "id": getpass.getuser(), "description": attest})
    return found


def _print_release(found: Mapping[str, Any]) -> None:
    name = f"{found['playbook_id']}@{found['version']}"
    say(plain(f"{name} is {_shown(found)} (tag {found['tag']}, digest {found['digest'][:12]})."))


def _values(one: Mapping[str, Any]) -> str:
    texts = [str(one[side]) for side in ("before", "after") if one[side] is not None]
    short = [text if len(text) <= 60 and "\n" not in text else "…" for text in texts]
    return f": {' → '.join(short)}" if any(text != "…" for text in short) else ""
