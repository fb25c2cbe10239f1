"""`kheish projects tasks`: list, show, add, update, start, claim, heartbeat, release, done, block, cancel, remove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, plain, say

STATUSES = ("pending", "in_progress", "blocked", "in_review", "completed", "failed", "cancelled")
KINDS = ("needs_input", "capability", "transient")
PROJECT = click.argument("project")
TASK = click.argument("task")
CLAIM = click.option("--claim", metavar="CLAIM", required=True, help="The claim, as `claim` printed it.")


def status(task: Mapping[str, Any]) -> str:
    """Return the status of a task in a word or two."""
    if task["lapsed"]:
        return "lapsed"
    return f"blocked: {task['block_kind']}" if task["block_kind"] else str(task["status"])


def notes(task: Mapping[str, Any]) -> str:
    """Return the holder and the obstacle of a task in words."""
    claim, words = task["claim"], []
    if claim is not None:
        lapsed = " (lapsed)" if task["lapsed"] else ""
        words.append(f"{claim['by']}, attempt {claim['attempt']}{lapsed}")
    elif task["assignee"] is not None:
        words.append(f"for {task['assignee']}")
    waits = [*task["failed"], *task["waits_for"]]
    if waits:
        words.append(f"after {', '.join(waits)}")
    elif task["block_kind"] is not None:
        words.append(task["block_kind"])
    return "; ".join(words)


COLUMNS: list[Column] = [
    ("TASK", "task_id"),
    ("STATUS", status),
    ("HOLDER", lambda task: task["claim"]["by"] if task["claim"] is not None else ""),
    ("ATTEMPT", "attempt"),
    ("ASSIGNEE", "assignee"),
    ("AFTER", lambda task: ", ".join([*task["failed"], *task["waits_for"]])),
    ("TITLE", "title"),
]


@group()
def tasks() -> None:
    """List, add and change the tasks of a project; start, claim, release and end them."""


@tasks.command("list")
@PROJECT
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only tasks with this status.")
@click.option("--assignee", metavar="MEMBER", help="Only tasks of this member.")
@click.option("--parent", metavar="TASK", help="Only parts of this task.")
@page_options
@pass_settings
def list_(
    settings: Settings,
    project: str,
    statuses: tuple[str, ...],
    assignee: str | None,
    parent: str | None,
    limit: int | None,
    cursor: str | None,
) -> None:
    """List the tasks of a project, newest first."""
    found: Any = statuses or None
    page = settings.client().projects.tasks(
        project, status=found, assignee=assignee, parent=parent, limit=limit, cursor=cursor
    )
    listing(settings, page, "task_id", COLUMNS, fitting("The project has no tasks.", found, assignee, parent))


@tasks.command()
@PROJECT
@TASK
@pass_settings
def show(settings: Settings, project: str, task: str) -> None:
    """Show a task."""
    _print(settings, settings.client().projects.task(project, task))


@tasks.command()
@PROJECT
@click.argument("title")
@click.option("--id", "task_id", metavar="TASK", help="An id of your choice.")
@click.option("--description", help="All that it needs.")
@click.option("--assignee", metavar="MEMBER", help="The member that is to do it.")
@click.option("--after", metavar="TASK", multiple=True, help="A task that comes first; may be repeated.")
@click.option("--parent", metavar="TASK", help="The task that it is a part of.")
@pass_settings
def add(
    settings: Settings,
    project: str,
    title: str,
    task_id: str | None,
    description: str | None,
    assignee: str | None,
    after: tuple[str, ...],
    parent: str | None,
) -> None:
    """Add a task to a project."""
    given = {"task_id": task_id, "description": description, "assignee": assignee, "parent": parent}
    more: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _say(settings, settings.client().projects.create_task(project, title, blocked_by=list(after), **more))


@tasks.command()
@PROJECT
@TASK
@click.option("--title")
@click.option("--description")
@click.option("--assignee", metavar="MEMBER", help="Another member; an empty text: none.")
@click.option("--after", metavar="TASK", multiple=True, help="Replaces the tasks that come first.")
@click.option("--no-after", is_flag=True, help="No task comes first.")
@click.option("--status", "wanted", type=click.Choice(["pending", "completed", "in_review", "failed"]))
@click.option("--reason", help="With --status: the reason.")
@click.option("--result", metavar="TEXT", help="With --status: the result.")
@pass_settings
def update(
    settings: Settings,
    project: str,
    task: str,
    title: str | None,
    description: str | None,
    assignee: str | None,
    after: tuple[str, ...],
    no_after: bool,
    wanted: str | None,
    reason: str | None,
    result: str | None,
) -> None:
    """Change a task. Status pending also unblocks it, rejects a result, and opens an ended task again."""
    given = {"title": title, "description": description, "status": wanted, "reason": reason, "output": result}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if assignee is not None:
        changes["assignee"] = assignee or None
    if after or no_after:
        changes["blocked_by"] = list(after)
    if not changes:
        raise click.UsageError("Give at least one option; nothing is to change.")
    _say(settings, settings.client().projects.update_task(project, task, **changes))


@tasks.command()
@PROJECT
@TASK
@pass_settings
def start(settings: Settings, project: str, task: str) -> None:
    """Start a run for a task, in the session of its assignee."""
    found = settings.client().projects.start_task(project, task)
    line = f"{task} is started: kheish runs follow {found['run_id']}"
    emit(settings, found, ids=[task], human=lambda: say(plain(line)))


@tasks.command()
@PROJECT
@TASK
@click.option("--holder", metavar="NAME", help="The name of an outside holder.")
@click.option("--agent", metavar="MEMBER", help="A member that is an agent.")
@click.option("--ttl", metavar="TIME", help="The time after which it lapses, such as 10m (5m).")
@pass_settings
def claim(settings: Settings, project: str, task: str, holder: str | None, agent: str | None, ttl: str | None) -> None:
    """Claim a task, and print the claim that each later change names."""
    if (holder is None) == (agent is None):
        raise click.UsageError("Give --holder or --agent.")
    found = settings.client().projects.claim_task(project, task, holder, agent=agent, ttl=ttl)
    until = f", until {found['expires_at']}" if found["expires_at"] else ""
    line = f"{found['claim_id']} ({found['by']}, attempt {found['attempt']}{until})"
    emit(settings, found, ids=[found["claim_id"]], human=lambda: say(plain(line)))


@tasks.command()
@PROJECT
@TASK
@CLAIM
@click.option("--ttl", metavar="TIME", help="The time from now, such as 10m (5m).")
@pass_settings
def heartbeat(settings: Settings, project: str, task: str, claim: str, ttl: str | None) -> None:
    """Extend a claim."""
    found = settings.client().projects.extend_task(project, task, claim, ttl=ttl)
    emit(settings, found, ids=[claim], human=lambda: say(f"{claim} lasts until {found['expires_at']}."))


@tasks.command()
@PROJECT
@TASK
@CLAIM
@click.option("--reason", help="The reason, which the next holder sees.")
@pass_settings
def release(settings: Settings, project: str, task: str, claim: str, reason: str | None) -> None:
    """Give a task back without a result."""
    _say(settings, settings.client().projects.release_task(project, task, claim, reason))


@tasks.command()
@PROJECT
@TASK
@click.option("--claim", metavar="CLAIM", help="The claim, if it is held.")
@click.option("--result", metavar="TEXT", help="The result.")
@click.option("--failed", is_flag=True, help="The task failed.")
@click.option("--reason", help="The reason of a failure.")
@pass_settings
def done(
    settings: Settings,
    project: str,
    task: str,
    claim: str | None,
    result: str | None,
    failed: bool,
    reason: str | None,
) -> None:
    """End a task: as its holder with --claim, else as a user."""
    client, wanted = settings.client().projects, "failed" if failed else "completed"
    more: dict[str, Any] = {"status": wanted, **({"reason": reason} if reason is not None else {})}
    if claim is not None:
        return _say(settings, client.complete_task(project, task, claim, result, **more))
    if result is not None:
        more["output"] = result
    return _say(settings, client.update_task(project, task, **more))


@tasks.command()
@PROJECT
@TASK
@click.option("--kind", type=click.Choice(KINDS), help="Why (needs_input).")
@click.option("--reason", help="The reason.")
@click.option("--claim", metavar="CLAIM", help="The claim, if it is held.")
@pass_settings
def block(settings: Settings, project: str, task: str, kind: str | None, reason: str | None, claim: str | None) -> None:
    """Block a task; `update --status pending` unblocks it."""
    given = {"block_kind": kind, "reason": reason, "claim_id": claim}
    more: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _say(settings, settings.client().projects.update_task(project, task, status="blocked", **more))


@tasks.command()
@PROJECT
@TASK
@click.option("--reason", help="The reason.")
@pass_settings
def cancel(settings: Settings, project: str, task: str, reason: str | None) -> None:
    """Cancel a task, and the run that was started for it."""
    more: dict[str, Any] = {"reason": reason} if reason is not None else {}
    _say(settings, settings.client().projects.update_task(project, task, status="cancelled", **more))


@tasks.command()
@PROJECT
@TASK
@pass_settings
def remove(settings: Settings, project: str, task: str) -> None:
    """Delete a task that no other waits for."""
    settings.client().projects.delete_task(project, task)
    emit(settings, {"task_id": task, "removed": True}, ids=[task], human=lambda: say(f"{task} is deleted."))


def _say(settings: Settings, task: Any) -> None:
    line = f"{task['task_id']} is {status(task)}."
    emit(settings, task, ids=[task["task_id"]], human=lambda: say(plain(line)))


def _print(settings: Settings, task: Any) -> None:
    emit(settings, task, ids=[task["task_id"]], human=lambda: details({**task}))
