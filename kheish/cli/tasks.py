"""`kheish tasks`: list the tasks of a session."""

from __future__ import annotations

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, fitting, listing, when

COLUMNS: list[Column] = [
    ("TASK", "task_id"),
    ("STATUS", "status"),
    ("CREATED", lambda task: when(task["created_at"])),
    ("ENDED", lambda task: when(task["ended_at"]) if task["ended_at"] else ""),
    ("TITLE", "title"),
]


@group()
def tasks() -> None:
    """List the tasks of a session; currently these are its background commands."""


@tasks.command("list")
@click.argument("session", type=Id("session"))
@click.option("--status", help="Only tasks with this status, such as in_progress.")
@page_options
@pass_settings
def list_(settings: Settings, session: str, status: str | None, limit: int | None, cursor: str | None) -> None:
    """List a session's tasks, newest first."""
    page = settings.client().sessions.tasks(session, status=status, limit=limit, cursor=cursor)
    listing(settings, page, "task_id", COLUMNS, fitting("The session has no tasks.", status))
