"""`kheish state`: verify, pack and repair the state root. Without a daemon, verify, gc and reindex use the files."""

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
    """Verify, pack and repair the state root."""


@state.command()
@pass_settings
def verify(settings: Settings) -> int:
    """Verify journals, the last commit and the index, and report errors. Changes nothing; needs no daemon."""
    from kheish.offline import verifying

    found = verifying.verify(settings.root())

    def human() -> None:
        for one in found["findings"]:
            click.echo(f"{one['path']}: {one['message']} ({one['code']})")
        say(
            f"{counted(found['journals'], 'journal')}, {counted(found['entries'], 'entry')}, "
            f"commit {str(found['commit'])[:10]}: "
            + (f"{counted(len(found['findings']), 'finding')}." if found["findings"] else "no problems.")
        )

    emit(settings, found, ids=[one["path"] for one in found["findings"]], human=human)
    return 1 if found["findings"] else 0


@state.command()
@pass_settings
def gc(settings: Settings) -> None:
    """Pack git's objects, and keep all of the last two weeks. The daemon also packs by itself when many are loose."""

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
    """Rebuild the index from journals and the log. Without a daemon, the next start rebuilds it."""

    def offline() -> dict[str, Any]:
        from kheish.offline import verifying

        return verifying.drop_index(settings.root())

    found = _ask(settings, "reindex", offline)
    now = "The index was rebuilt." if found["reindexed"] else "The next start rebuilds the index."
    emit(settings, found, ids=[], human=lambda: say(now))


@state.command(name="put-back")
@pass_settings
def put_back(settings: Settings) -> None:
    """Restore the daemon's newest state, in a commit on top of a branch that was moved back."""
    found = _decide(settings, "put-back")
    said = f"Restored {found['files']} {'file' if found['files'] == 1 else 'files'}."
    emit(settings, found, ids=[found["commit"]], human=lambda: say(said))


@state.command(name="accept-rewind")
@pass_settings
def accept_rewind(settings: Settings) -> None:
    """Continue from where the branch was moved back to. The previous state stays in git, under the printed ref."""
    found = _decide(settings, "accept-rewind")
    said = f"Continuing from {found['commit'][:10]}; the previous state is kept as {found['kept']}."
    emit(settings, found, ids=[found["commit"]], human=lambda: say(said))


def _decide(settings: Settings, way: Literal["put-back", "accept-rewind"]) -> dict[str, Any]:
    """Send the decision, and wait until the daemon has started, so that the next command reaches it."""
    import time

    from kheish.errors import Unavailable

    client = settings.client()
    found, until = client.state(way), time.monotonic() + _STARTING
    while client.status()["status"] == "starting":
        if time.monotonic() > until:
            raise Unavailable(
                "The decision is made, but the daemon is still starting. `kheish status` shows its progress."
            )
        time.sleep(0.05)
    return {**found}


def _ask(settings: Settings, what: Literal["gc", "reindex"], offline: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Call the daemon; if none serves this state root, run `offline`."""
    from kheish.errors import Unreachable

    try:
        return {**settings.client().state(what)}
    except Unreachable:
        if settings.url:
            raise
    return offline()
