"""`kheish problems`: list errors in files, with line and column."""

from __future__ import annotations

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import Column, listing


def place(problem: dict[str, object]) -> str:
    """Return the location in the format of editors: `routes/local.yaml:3:5`."""
    return ":".join(str(problem[key]) for key in ("path", "line", "column") if problem.get(key))


def said(problem: dict[str, object]) -> str:
    """Return the message, which suggests a key for a misspelled one."""
    return f"{problem['message']}"


COLUMNS: list[Column] = [
    ("SEVERITY", "severity"),
    ("WHERE", place),
    ("WHAT", said),
]


@command()
@pass_settings
def problems(settings: Settings) -> None:
    """List errors in files, with line and column."""
    listing(settings, settings.client().problems(), "problem_id", COLUMNS, "No problems.")
