"""`kheish backup`: name a remote, push to it, and see how that goes."""

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
@click.option("--name", default="origin", show_default=True, help="What git calls the remote.")
@click.option("--every", default="10m", show_default=True, help="How often the daemon pushes.")
@pass_settings
def add(settings: Settings, given: str, name: str, every: str) -> None:
    """Push to REMOTE (an address as git takes it) from now on. The daemon need not run."""
    from kheish.ids import duration
    from kheish.store.git import template
    from kheish.store.git.remote import clean

    root = settings.root()
    template.open_root(root)
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
        False: "but the daemon has not taken that up yet: see kheish problems",
        None: "once a daemon serves it",
    }
    emit(settings, document, ids=[name], human=lambda: say(f"Pushed to {clean(address)} every {every}; {then[taken]}."))


def _is_in_force(settings: Settings, name: str) -> bool | None:
    """Whether the daemon has read the setting, which takes it a moment; None where none runs."""
    try:
        for _ in range(int(_PATIENCE / _PAUSE)):
            if settings.client().status()["backup"]["remote"] == name:
                return True
            time.sleep(_PAUSE)
    except Unreachable:
        return None
    return False


def _name(root: Path, name: str, address: str) -> None:
    """Make the git remote. Raises Conflict where it is there with another address."""
    missing, there, _ = _git(root, "remote", "get-url", "--", name)
    if missing:
        failed, _, said = _git(root, "remote", "add", "--", name, address)
        if failed:
            raise Invalid(f"git remote add: {said}")
    elif there != address:
        raise Conflict(
            f"There is a git remote {name!r} with another address. To change it: git -C {root} remote set-url {name} "
            "REMOTE; for a second one: --name NAME."
        )


def _git(root: Path, *words: str) -> tuple[int, str, str]:
    """Return git's exit status, output and errors. Raises Invalid."""
    from kheish.store.git import command as git

    try:
        done = git.run(root, words)
    except OSError as error:
        raise Invalid(f"git cannot be run: {error}") from error
    return done.returncode, done.stdout.decode(errors="replace").strip(), done.stderr.decode(errors="replace").strip()


def _write(root: Path, name: str, every: str) -> None:
    """Add `backup` to kheish.yaml, comments untouched. Raises Conflict where it is there with something else."""
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
        raise Conflict(f"{path} has a `backup` already; write there: backup: {{remote: {name}, every: {every}}}")
    files.atomic_write(path, new.encode(), fsync=True)


@backup.command()
@pass_settings
def push(settings: Settings) -> None:
    """Push now, and wait until it is there."""
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
    """How the backup is: the newest push, and what is wrong."""
    found = settings.client().status()["backup"]
    emit(settings, found, ids=[], human=lambda: details(found))
