"""`kheish problems`: what is wrong in files, with line and column."""

from __future__ import annotations

from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import Column, listing


def place(problem: dict[str, object]) -> str:
    """`routes/local.yaml:3:5`, as editors understand it."""
    return ":".join(str(problem[key]) for key in ("path", "line", "column") if problem.get(key))


def said(problem: dict[str, object]) -> str:
    """The message, and the nearest known key where one was misspelled."""
    return f"{problem['message']}"


COLUMNS: list[Column] = [
    ("SEVERITY", "severity"),
    ("WHERE", place),
    ("WHAT", said),
]


@command()
@pass_settings
def problems(settings: Settings) -> None:
    """What is wrong in files, with line and column."""
    listing(settings, settings.client().problems(), "problem_id", COLUMNS, "Nothing is wrong.")
