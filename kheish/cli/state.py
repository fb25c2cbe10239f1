"""`kheish state`: the state root as a whole. Without a daemon, verify, gc and reindex work on the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import counted, emit, say

if TYPE_CHECKING:
    from collections.abc import Callable

_STARTING = 60.0  # seconds


@group()
def state() -> None:
    """Check, pack and mend the state root as a whole."""


@state.command()
@pass_settings
def verify(settings: Settings) -> int:
    """Read all of it and say what is wrong: journals, the last commit, the index. Changes nothing; needs no daemon."""
    from kheish.offline import verifying

    found = verifying.verify(settings.root())

    def human() -> None:
        for one in found["findings"]:
            click.echo(f"{one['path']}: {one['message']} ({one['code']})")
        say(
            f"{counted(found['journals'], 'journal')}, {counted(found['entries'], 'entry')}, "
            f"commit {str(found['commit'])[:10]}: "
            + (f"{counted(len(found['findings']), 'finding')}." if found["findings"] else "nothing is wrong.")
        )

    emit(settings, found, ids=[one["path"] for one in found["findings"]], human=human)
    return 1 if found["findings"] else 0


@state.command()
@pass_settings
def gc(settings: Settings) -> None:
    """Pack git's objects. The daemon does it by itself where many are loose; nothing younger than two weeks goes."""

    def offline() -> dict[str, Any]:
        from kheish.offline import verifying

        return verifying.pack(settings.root())

    found = _ask(settings, "gc", offline)
    before, after = found["before"], found["after"]
    said = f"{before['loose']} loose objects before, {after['loose']} now; {after['bytes'] // 1024} KiB in packs."
    emit(settings, found, ids=[], human=lambda: say(said))


@state.command()
@pass_settings
def reindex(settings: Settings) -> None:
    """Make the index again from journals and the log. Without a daemon: its next start does."""

    def offline() -> dict[str, Any]:
        from kheish.offline import verifying

        return verifying.drop_index(settings.root())

    found = _ask(settings, "reindex", offline)
    now = "The index was made again." if found["reindexed"] else "The next start makes the index again."
    emit(settings, found, ids=[], human=lambda: say(now))


@state.command(name="put-back")
@pass_settings
def put_back(settings: Settings) -> None:
    """The branch was moved back: bring back all that the daemon had, in a commit on top."""
    found = _decide(settings, "put-back")
    said = f"Put back {found['files']} {'file' if found['files'] == 1 else 'files'}."
    emit(settings, found, ids=[found["commit"]], human=lambda: say(said))


@state.command(name="accept-rewind")
@pass_settings
def accept_rewind(settings: Settings) -> None:
    """The branch was moved back: go on from there. What is gone stays in git, under the ref that is printed."""
    found = _decide(settings, "accept-rewind")
    said = f"Going on from {found['commit'][:10]}; what was is kept as {found['kept']}."
    emit(settings, found, ids=[found["commit"]], human=lambda: say(said))


def _decide(settings: Settings, way: Literal["put-back", "accept-rewind"]) -> dict[str, Any]:
    """Tell the daemon, and wait until it has started: what is typed next is to find it there."""
    import time

    from kheish.errors import Unavailable

    client = settings.client()
    found, until = client.state(way), time.monotonic() + _STARTING
    while client.status()["status"] == "starting":
        if time.monotonic() > until:
            raise Unavailable("It is decided; the daemon still starts. `kheish status` says how far it is.")
        time.sleep(0.05)
    return {**found}


def _ask(settings: Settings, what: Literal["gc", "reindex"], offline: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Ask the daemon; where none serves this state root, do it here."""
    from kheish.errors import Unreachable

    try:
        return {**settings.client().state(what)}
    except Unreachable:
        if settings.url:
            raise
    return offline()
