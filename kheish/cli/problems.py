"""`kheish problems`: list errors in files, with line and column."""

from __future__ import annotations

from collections.abc import Callable

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, page_options, pass_settings
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


def _options(function: Callable[..., None]) -> Callable[..., None]:
    about = "Also the problems of skills in the workspace of this session."
    return click.option("--session", type=Id("session"), help=about)(page_options(function))


@group(invoke_without_command=True)
@_options
@click.pass_context
def problems(ctx: click.Context, session: str | None, limit: int | None, cursor: str | None) -> None:
    """List errors in files, with line and column."""
    if ctx.invoked_subcommand is None:
        _list(ctx.ensure_object(Settings), session, limit, cursor)
    elif session or limit or cursor:
        raise click.UsageError("Write the options after `list`.")


@problems.command("list")
@_options
@pass_settings
def list_(settings: Settings, session: str | None, limit: int | None, cursor: str | None) -> None:
    """List errors in files, with line and column; `list` may be left out."""
    _list(settings, session, limit, cursor)


def _list(settings: Settings, session: str | None, limit: int | None, cursor: str | None) -> None:
    page = settings.client().problems(session=session, limit=limit, cursor=cursor)
    listing(settings, page, "problem_id", COLUMNS, "No problems.")
