"""`kheish stop`: end the daemon of a state root, and wait until it has drained."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit, say


@command()
@click.option("--timeout", default="60s", show_default=True, help="How long to wait for the shutdown.")
@click.option(
    "--end-jobs", is_flag=True, help="Also end running commands, which otherwise continue under their runners."
)
@pass_settings
def stop(settings: Settings, timeout: str, end_jobs: bool) -> int:
    """Stop the daemon: it starts no new step, finishes or keeps running work, commits, and exits."""
    from kheish.client import discovery
    from kheish.ids import duration

    try:
        patience = duration(timeout)
    except ValueError as error:
        raise click.UsageError(f"--timeout: {error}.") from error
    root = settings.root()
    noted = discovery.daemon_note(root)
    pid = noted.get("pid") if noted else None
    if not isinstance(pid, int) or not is_daemon(pid):
        raise discovery.unreachable(root)
    if end_jobs:
        from kheish.daemon import shutdown

        shutdown.ask_to_end_jobs(root, pid)
    os.kill(pid, signal.SIGTERM)
    if not _ended(pid, patience):
        click.echo(
            f"kheish: The daemon (pid {pid}) is still draining after {timeout}; it will exit by itself.", err=True
        )
        return 1
    emit(settings, {"pid": pid, "stopped": True}, ids=[str(pid)], human=lambda: say(f"Daemon {pid} has stopped."))
    return 0


def is_daemon(pid: int) -> bool:
    """Return whether `pid` is a daemon; it may be gone or reused, since daemon.json outlives a crash."""
    if pid <= 1 or not _lives(pid):
        return False
    try:
        return b"kheish" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # no /proc: the pid is all there is to check


def _ended(pid: int, patience: float) -> bool:
    until = time.monotonic() + patience
    while _lives(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # A zombie is no longer a daemon.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True
