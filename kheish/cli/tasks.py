"""`kheish tasks`: list, show, output, stop, create, update."""

from __future__ import annotations

import sys
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, plain, say, when

STATUSES = ("pending", "in_progress", "blocked", "completed", "failed", "cancelled")
FINAL = frozenset({"completed", "failed", "cancelled"})
COLUMNS: list[Column] = [
    ("TASK", "task_id"),
    ("STATUS", lambda task: "waits for input" if task.get("waits_for_input") else task["status"]),
    ("CREATED", lambda task: when(task["created_at"])),
    ("ENDED", lambda task: when(task["ended_at"]) if task["ended_at"] else ""),
    ("TITLE", "title"),
]
SESSION = click.argument("session", type=Id("session"))
TASK = click.argument("task")


@group()
def tasks() -> None:
    """List, show, create and change the tasks of a session, and its background commands."""


@tasks.command("list")
@SESSION
@click.option("--status", help="Only tasks with this status, such as in_progress.")
@page_options
@pass_settings
def list_(settings: Settings, session: str, status: str | None, limit: int | None, cursor: str | None) -> None:
    """List a session's tasks, newest first."""
    page = settings.client().sessions.tasks(session, status=status, limit=limit, cursor=cursor)
    listing(settings, page, "task_id", COLUMNS, fitting("The session has no tasks.", status))


@tasks.command()
@SESSION
@TASK
@pass_settings
def show(settings: Settings, session: str, task: str) -> None:
    """Show a task."""
    _print(settings, settings.client().tasks.get(session, task))


@tasks.command()
@SESSION
@TASK
@click.option("--after", type=click.IntRange(0), help="Skip this many bytes.")
@click.option("--tail", type=click.IntRange(1, 2000), help="Only this many last lines.")
@click.option("--wait", metavar="TIME", help="Wait for its end (with --after: for more output), such as 30s.")
@click.option("--follow", "-f", is_flag=True, help="Print the output as it comes, up to the task's end.")
@pass_settings
def output(
    settings: Settings, session: str, task: str, after: int | None, tail: int | None, wait: str | None, follow: bool
) -> None:
    """Print the output of a background command, or of another task."""
    client = settings.client()
    if follow and tail is not None:
        raise click.UsageError("--follow goes with --after, not with --tail.")
    seen = client.tasks.output(session, task, after=(after or 0) if follow else after, tail=tail, wait=wait)
    last = _print_output(settings, seen)
    while follow and (seen["status"] not in FINAL or seen["next"] < seen["total"]):
        seen = client.tasks.output(session, task, after=seen["next"], wait="30s")
        last = _print_output(settings, seen) or last
    if settings.output == "table" and last and not last.endswith("\n") and sys.stdout.isatty():
        sys.stdout.write("\n")  # a prompt begins on a line of its own


@tasks.command()
@SESSION
@TASK
@click.option("--reason", help="The reason, kept in the journal.")
@pass_settings
def stop(settings: Settings, session: str, task: str, reason: str | None) -> None:
    """Stop a background command, or cancel another task."""
    document = settings.client().tasks.stop(session, task, reason)
    words = "is asked to stop" if document["shell"] and document["status"] not in FINAL else f"is {document['status']}"
    emit(settings, document, ids=[task], human=lambda: say(f"{document['task_id']} {words}."))


@tasks.command()
@SESSION
@click.argument("title")
@click.option("--description", help="The work.")
@click.option("--owner", metavar="AGENT", help="The agent that does it; it gets a message.")
@click.option("--blocked-by", metavar="TASK", multiple=True, help="A task that comes first; may be repeated.")
@click.option("--idempotency-key", metavar="KEY", help="Create at most once per key.")
@pass_settings
def create(
    settings: Settings,
    session: str,
    title: str,
    description: str | None,
    owner: str | None,
    blocked_by: tuple[str, ...],
    idempotency_key: str | None,
) -> None:
    """Create a task."""
    document = settings.client().tasks.create(
        session,
        title,
        description=description,
        owner=owner,
        blocked_by=list(blocked_by) or None,
        idempotency_key=idempotency_key,
    )
    line = f"{document['task_id']} is {document['status']}."
    emit(settings, document, ids=[document["task_id"]], human=lambda: say(line))


@tasks.command()
@SESSION
@TASK
@click.option("--title")
@click.option("--description")
@click.option("--status", type=click.Choice(STATUSES), help="The last three are final.")
@click.option("--owner", metavar="AGENT", help="The agent that does it; it gets a message.")
@click.option("--blocked-by", metavar="TASK", multiple=True, help="Replaces the tasks that come first.")
@click.option("--result", metavar="TEXT", help="What came of it.")
@pass_settings
def update(
    settings: Settings,
    session: str,
    task: str,
    title: str | None,
    description: str | None,
    status: str | None,
    owner: str | None,
    blocked_by: tuple[str, ...],
    result: str | None,
) -> None:
    """Change a task that has not ended."""
    given = {"title": title, "description": description, "status": status, "owner": owner, "output": result}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if blocked_by:
        changes["blocked_by"] = list(blocked_by)
    if not changes:
        raise click.UsageError("Give at least one option; nothing is to change.")
    _print(settings, settings.client().tasks.update(session, task, **changes))


def _print(settings: Settings, document: Any) -> None:
    emit(settings, document, ids=[document["task_id"]], human=lambda: details({**document}))


def _print_output(settings: Settings, seen: Any) -> str:
    """Print a part of the output, and return it."""

    def human() -> None:
        sys.stdout.write(plain(seen["text"]))
        sys.stdout.flush()

    emit(settings, seen, ids=[seen["task_id"]], human=human)
    return str(seen["text"])
