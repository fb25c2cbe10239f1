"""`kheish run SESSION "text"`: give an agent a task, and optionally follow it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.ids import Id, Name
from kheish.cli.options import Settings, command, exclusive, pass_settings

if TYPE_CHECKING:
    from kheish.client import Kheish

MODES = ["default", "accept_edits", "plan", "dont_ask", "bypass"]


@command()
@click.argument("session", type=Id("session", makes=True))
@click.argument("text")
@click.option("--follow", "-f", "followed", is_flag=True, help="Follow the run, and prompt for pending decisions.")
@click.option("--wait", metavar="TIME", help="Wait up to this time (30s) for its end.")
@click.option("--no-create", is_flag=True, help="Fail if the session does not exist.")
@click.option(
    "--route",
    type=Name("routes"),
    help="The route; a new session keeps it, an existing one uses it for this run only.",
)
@click.option("--model", help="Override the model of the route.")
@click.option("--workspace", metavar="DIR", help="The working folder of a new session.")
@click.option("--permission-mode", type=click.Choice(MODES), help="The permission mode of a new session.")
@click.option("--idempotency-key", metavar="KEY", help="Start at most one run per key; a key belongs to one task.")
@pass_settings
def run(settings: Settings, session: str, text: str, followed: bool, wait: str | None, no_create: bool,
        route: str | None, model: str | None, workspace: str | None, permission_mode: str | None,
        idempotency_key: str | None) -> int:  # fmt: skip
    """Give the agent of SESSION the task TEXT (`-`: stdin). A missing session is created."""
    from kheish.cli import follow

    content = _content(text)
    exclusive(follow=followed, wait=wait)  # following waits for the end
    exclusive(no_create=no_create, workspace=workspace)
    exclusive(no_create=no_create, permission_mode=permission_mode)
    client = settings.client()
    if not no_create:
        ensure(client, session, workspace, permission_mode, route)
    choices: Any = {name: value for name, value in (("route", route), ("model", model)) if value}
    started = client.runs.start(session, content, idempotency_key=idempotency_key, wait=wait, **choices)
    if followed:
        return follow.follow(settings, client, follow.FollowedRun(started))
    return follow.accepted(settings, started, waited=wait is not None)


def _content(text: str) -> str:
    content = sys.stdin.read() if text == "-" else text
    if not content.strip():
        raise click.UsageError("The task is empty.")
    return content


def ensure(
    client: Kheish, session: str | None, workspace: str | None, permission_mode: str | None, route: str | None = None
) -> str:
    """Create the session if it is missing (None: a new one), and return its id. `route` applies to a new one only.

    Raise SessionConflict if an existing session has another workspace or mode.
    """
    from kheish.errors import NotFound

    if session and route:
        with contextlib.suppress(NotFound):
            client.sessions.get(session)
            route = None
    settings: Any = {"route": route} if route else {}
    if workspace:
        settings["workspace"] = str(Path(workspace).expanduser().absolute())
    if permission_mode:
        settings["permission_mode"] = permission_mode
    if session and not settings:
        with contextlib.suppress(NotFound):
            return client.sessions.get(session)["session_id"]
    return client.sessions.create(session, **settings)["session_id"]
