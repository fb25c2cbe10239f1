"""`kheish doctor`: check this machine and this state root for problems."""

from __future__ import annotations

import dataclasses

import click

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit


@command()
@click.option("--scan-history", is_flag=True, help="Instead, search all files and git objects for values of secrets.")
@pass_settings
def doctor(settings: Settings, scan_history: bool) -> int:
    """Check this machine and state root for problems; needs no daemon."""
    from kheish.offline.doctor import doctor as checks

    findings = checks.findings(settings.root(), scan=scan_history)
    document = {"findings": [dataclasses.asdict(one) for one in findings]}
    emit(settings, document, ids=[one.what for one in findings], human=lambda: checks.show(findings))
    return 1 if any(one.level == "error" for one in findings) else 0
