"""`kheish audit`: list the audit records of external effects, and verify their integrity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import counted, emit, listing, say, when

_ACTIONS = ("model", "http", "shell", "mcp", "secret", "token", "access", "approval", "auth", "hook")
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
    """List the audit records of external effects, and verify their integrity."""


@audit.command("list")
@click.option("--action", type=click.Choice(_ACTIONS), help="Only entries of this action.")
@click.option("--outcome", type=click.Choice(_OUTCOMES), help="Only entries with this outcome.")
@click.option("--session", type=Id("session"), help="Only entries of this session.")
@click.option("--run", help="Only entries of this run.")
@click.option("--after", type=int, help="Only entries after this event number.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, help="The maximum number of entries.")
@click.option("--cursor", help="The cursor of the next page.")
@pass_settings
def show_all(settings: Settings, /, **query: Any) -> None:
    """List entries, oldest first."""
    page = settings.client().audit.list(**query)
    listing(settings, page, "n", _COLUMNS, "No matching audit entries.")


@audit.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--key", help="The expected public key (base64) of the signature.")
@click.option(
    "--witness",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A repository this root was pushed to, or a fresh clone (--bare suffices): its entries must all be here.",
)
@pass_settings
def verify(settings: Settings, folder: Path | None, key: str | None, witness: Path | None) -> int:
    """Verify the hash chain and its signature; needs no daemon. FOLDER: a clone to verify instead of the state root."""
    from kheish.offline import verifying

    report = verifying.audit(folder or settings.root(), key=key, witness=witness)

    def human() -> None:
        if report["ok"] and not report["entries"]:
            say(f"No audit entries yet: nothing to verify.{_compared(report, witness)}")
        elif report["ok"]:
            entries = counted(report["entries"], "entry")
            say(
                f"{entries}, chained; {report['signed']} signed by the key {report['key']}.{_compared(report, witness)}"
            )
        else:
            finding = report["finding"]
            say(f"{finding['code']}: {finding['message']}")

    emit(settings, report, ids=[str(report["entries"])], human=human)
    return 0 if report["ok"] else 1


def _compared(report: dict[str, Any], witness: Path | None) -> str:
    """Return a sentence about the comparison with the witness."""
    if witness is None:
        return ""
    if report["witnessed"] is None:
        return f" Not compared: the witness {witness} has no audit head yet."
    return f" Compared with the witness {witness}: its {counted(report['witnessed'], 'entry')} are all here."
