"""`kheish workers`: manage the machines that run the tools of sessions; test, examine and install them."""

from __future__ import annotations

import click

from kheish.cli.definitions import commands
from kheish.cli.options import Settings, pass_settings
from kheish.cli.output import emit, plain, say

workers = commands("workers", "worker", "Manage workers: machines that run the tools of sessions.")
_MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@workers.command()
@click.argument("name")
@pass_settings
def test(settings: Settings, name: str) -> int:
    """Connect to a worker."""
    done = settings.client().workers.test(name)
    took = f"{done['duration_ms']} ms"
    line = f"{name}: kheish {done['version']} ({took})" if done["ok"] else f"{name}: {done['error']} ({took})"
    emit(settings, done, ids=[name], human=lambda: say(plain(line)))
    return 0 if done["ok"] else 1


@workers.command()
@click.argument("name")
@pass_settings
def doctor(settings: Settings, name: str) -> int:
    """Examine a worker: connection, version, sandbox, clock, git, space, throughput."""
    done = settings.client().workers.doctor(name)

    def human() -> None:
        for check in done["checks"]:
            say(plain(f"{_MARKS[check['verdict']]}  {check['name']:<11} {check['detail']}"))

    emit(settings, done, ids=[name], human=human)
    return 0 if done["ok"] else 1


@workers.command()
@click.argument("host")
@click.option("--python", default="python3", metavar="PROGRAM", help="The Python of the host, 3.11 or newer.")
@pass_settings
def install(settings: Settings, host: str, python: str) -> None:
    """Install this version of Kheish on HOST over ssh, in a folder of its own; no daemon is needed.

    HOST is what `ssh HOST` reaches. The program comes into ~/.local/share/kheish/worker there; a second call replaces
    it. The host fetches the packages that Kheish needs by its own pip.
    """
    from kheish.offline import installing

    steps: list[str] = []

    def done(step: str) -> None:
        steps.append(step)
        if settings.output == "table" and not settings.quiet:
            say(plain(step))

    version = installing.install(host, python, done)
    emit(settings, {"host": host, "version": version, "steps": steps}, ids=[host], human=lambda: None)
