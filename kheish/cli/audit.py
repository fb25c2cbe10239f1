"""`kheish audit`: who did what outside, and whether anybody has touched that record since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import counted, emit, listing, say, when

_ACTIONS = ("model", "http", "shell", "secret", "token", "access", "approval", "auth")
_OUTCOMES = ("begun", "done", "failed", "refused")
_COLUMNS = (
    ("TIME", lambda one: when(one["at"])),
    ("ACTION", lambda one: one["data"]["action"]),
    ("OUTCOME", lambda one: one["data"]["outcome"]),
    ("SUBJECT", lambda one: one["data"]["subject"]),
    ("SESSION", lambda one: one["data"]["session"]),
    ("TARGET", lambda one: one["data"]["target"]),
)


@group()
def audit() -> None:
    """Who did what outside, and whether anybody has touched that record since."""


@audit.command("list")
@click.option("--action", type=click.Choice(_ACTIONS), help="Only what was of this kind.")
@click.option("--outcome", type=click.Choice(_OUTCOMES), help="Only what ended so.")
@click.option("--session", type=Id("session"), help="Only what happened in this session.")
@click.option("--run", help="Only what happened in this run.")
@click.option("--after", type=int, help="Only entries above this event number.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, help="How many at most.")
@click.option("--cursor", help="Go on from here.")
@pass_settings
def show_all(settings: Settings, /, **query: Any) -> None:
    """List entries, oldest first."""
    page = settings.client().audit.list(**query)
    listing(settings, page, "n", _COLUMNS, "The audit has no such entry.")


@audit.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--key", help="The public key (base64) that must have signed.")
@click.option(
    "--witness",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where this was pushed to, or a fresh clone of that (--bare will do): what it has, must be here.",
)
@pass_settings
def verify(settings: Settings, folder: Path | None, key: str | None, witness: Path | None) -> int:
    """Follow the chain and check its signature; needs no daemon. FOLDER: a clone instead of the state root."""
    from kheish.offline import verifying

    report = verifying.audit(folder or settings.root(), key=key, witness=witness)

    def human() -> None:
        if report["ok"] and not report["entries"]:
            say("There is no entry yet: nothing to verify.")
        elif report["ok"]:
            entries = counted(report["entries"], "entry")
            say(f"{entries}, chained; {report['signed']} vouched for by the key {report['key']}.")
        else:
            finding = report["finding"]
            say(f"{finding['code']}: {finding['message']}")

    emit(settings, report, ids=[str(report["entries"])], human=human)
    return 0 if report["ok"] else 1
