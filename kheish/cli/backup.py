"""`kheish backup`: configure a remote, push to it, and show the status."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click

from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import details, emit, say
from kheish.errors import Conflict, Invalid, Unreachable

_PATIENCE, _PAUSE = 5.0, 0.1  # seconds
_BLOCK = "\nbackup:\n  remote: {remote}\n  every: {every}\n"


@group()
def backup() -> None:
    """Push the state root to a git remote: a complete, consistent backup."""


@backup.command()
@click.argument("given", metavar="REMOTE")
@click.option("--name", default="origin", show_default=True, help="The name of the git remote.")
@click.option("--every", default="10m", show_default=True, help="The interval between pushes.")
@pass_settings
def add(settings: Settings, given: str, name: str, every: str) -> None:
    """Configure pushes to REMOTE (an address that git accepts). Needs no daemon."""
    from kheish.ids import duration
    from kheish.store.git import root_format
    from kheish.store.git.remote import clean

    root = settings.root()
    root_format.open_root(root)
    try:
        duration(every)
    except ValueError as error:
        raise Invalid(f"--every: {error}") from error
    local = Path(given).expanduser()
    address = os.fspath(local.absolute()) if "://" not in given and local.exists() else given
    _name(root, name, address)
    _write(root, name, every)
    taken = _is_in_force(settings, name)
    document = {"remote": name, "url": clean(address), "every": every, "in_force": taken}
    then = {
        True: "now: kheish backup push",
        False: "but the daemon has not applied the setting yet: see kheish problems",
        None: "once a daemon serves this root",
    }
    emit(settings, document, ids=[name], human=lambda: say(f"Pushed to {clean(address)} every {every}; {then[taken]}."))


def _is_in_force(settings: Settings, name: str) -> bool | None:
    """Return whether the daemon has applied the setting, after a short wait; None without a daemon."""
    try:
        for _ in range(int(_PATIENCE / _PAUSE)):
            if settings.client().status()["backup"]["remote"] == name:
                return True
            time.sleep(_PAUSE)
    except Unreachable:
        return None
    return False


def _name(root: Path, name: str, address: str) -> None:
    """Create the git remote. Raise Conflict if it exists with another address."""
    missing, present, _ = _git(root, "remote", "get-url", "--", name)
    if missing:
        failed, _, said = _git(root, "remote", "add", "--", name, address)
        if failed:
            raise Invalid(f"git remote add: {said}")
    elif present != address:
        raise Conflict(
            f"The git remote {name!r} has another address. To change it: git -C {root} remote set-url {name} "
            "REMOTE; for a second one: --name NAME."
        )


def _git(root: Path, *words: str) -> tuple[int, str, str]:
    """Return git's exit status, output and errors. Raise Invalid if git cannot run."""
    from kheish.store.git import command as git

    try:
        done = git.run(root, words)
    except OSError as error:
        raise Invalid(f"Cannot run git: {error}") from error
    return done.returncode, done.stdout.decode(errors="replace").strip(), done.stderr.decode(errors="replace").strip()


def _write(root: Path, name: str, every: str) -> None:
    """Add `backup` to kheish.yaml and keep its comments. Raise Conflict if it has another value."""
    from kheish.store import files
    from kheish.store.log import records

    path = root / "kheish.yaml"
    text = path.read_text() if path.exists() else ""
    wanted = {"remote": name, "every": every}
    data = records.read(text.encode())
    there = data.get("backup")
    if text.lstrip().startswith("{"):  # JSON, which YAML contains
        new = json.dumps({**data, "backup": wanted}, indent=1, ensure_ascii=False) + "\n"
    else:
        new = text.rstrip("\n") + "\n" * bool(text) + _BLOCK.format(remote=name, every=every)
    if there == wanted:
        return
    if there is not None:
        raise Conflict(f"{path} already has a `backup`; change it to: backup: {{remote: {name}, every: {every}}}")
    files.atomic_write(path, new.encode(), fsync=True)


@backup.command()
@pass_settings
def push(settings: Settings) -> None:
    """Push now, and wait for the result."""
    done = settings.client().backup()
    pushed = done["pushed"]
    assert pushed is not None  # a push that fails is an error
    emit(
        settings,
        done,
        ids=[pushed["commit"]],
        human=lambda: say(f"Pushed {pushed['commit'][:12]} (up to event {pushed['n']}) to {pushed['url']}."),
    )


@backup.command()
@pass_settings
def status(settings: Settings) -> None:
    """Show the newest push and any errors of the backup."""
    found = settings.client().status()["backup"]
    emit(settings, found, ids=[], human=lambda: details(found))
