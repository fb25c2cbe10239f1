"""`kheish restore URL DIR`: create a state root from a backup; needs no daemon."""

from __future__ import annotations

from pathlib import Path

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import counted, emit, plain, say


@command()
@click.argument("address", metavar="URL")
@click.argument("folder", metavar="DIR")
@click.option("--branch", help="The branch, if several contain a state root.")
@pass_settings
def restore(settings: Settings, address: str, folder: str, branch: str | None) -> int:
    """Create a state root in DIR from the backup at URL. It starts paused, until `kheish resume`."""
    from kheish.store.git import restore as making

    root = Path(folder).expanduser().absolute()
    made = making.restore(address, root, branch=branch)
    document = {
        "state_root": str(made.root),
        "branch": made.branch,
        "commit": made.commit,
        "sessions": made.sessions,
        "damaged": made.damaged,
    }

    def human() -> None:
        say(
            f"{root} is restored: {counted(made.sessions, 'session')}, branch {made.branch}, commit {made.commit[:12]}."
        )
        say(f"It starts paused: `kheish serve --state-root {root}`, check it, then `kheish resume` (with --takeover")
        say("if the old daemon may still run, or this one should push from now on).")

    emit(settings, document, ids=[str(root)], human=human)
    for line in made.damaged:
        click.echo(plain(f"damaged: {line}"), err=True)
    return 1 if made.damaged else 0
