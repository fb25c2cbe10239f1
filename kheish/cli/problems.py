"""`kheish problems`: list errors in files, with line and column."""

from __future__ import annotations

from kheish.cli.options import Settings, command, page_options, pass_settings
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
@page_options
@pass_settings
def problems(settings: Settings, limit: int | None, cursor: str | None) -> None:
    """List errors in files, with line and column."""
    page = settings.client().problems(limit=limit, cursor=cursor)
    listing(settings, page, "problem_id", COLUMNS, "No problems.")
