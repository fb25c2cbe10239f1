"""`kheish run SESSION "text"`: give an agent a task, and watch it where wanted."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, command, pass_settings

if TYPE_CHECKING:
    from kheish.client import Kheish

MODES = ["default", "accept_edits", "plan", "dont_ask", "bypass"]


@command()
@click.argument("session", type=Id("session", makes=True))
@click.argument("text")
@click.option("--follow", "-f", "followed", is_flag=True, help="Watch it, and answer what it asks.")
@click.option("--wait", metavar="TIME", help="Wait so long (30s) for its end before saying how it is.")
@click.option("--no-create", is_flag=True, help="Fail where the session does not exist.")
@click.option(
    "--route", type=Id("route"), help="The route to a model; a new session keeps it, another uses it for this run."
)
@click.option("--model", help="Another model of that route.")
@click.option("--workspace", metavar="DIR", help="The folder a new session works in.")
@click.option("--permission-mode", type=click.Choice(MODES), help="What a new session may do without asking.")
@click.option("--idempotency-key", metavar="KEY", help="The same key with the same task starts it once.")
@pass_settings
def run(settings: Settings, session: str, text: str, followed: bool, wait: str | None, no_create: bool,
        route: str | None, model: str | None, workspace: str | None, permission_mode: str | None,
        idempotency_key: str | None) -> int:  # fmt: skip
    """Give the agent of SESSION the task TEXT (`-` reads it from stdin). A session that is not there is made."""
    from kheish.cli import following

    content = _content(text)
    client = settings.client()
    if not no_create:
        ensure(client, session, workspace, permission_mode, route)
    wanted: Any = {name: value for name, value in (("route", route), ("model", model)) if value}
    started = client.runs.start(session, content, idempotency_key=idempotency_key, wait=wait, **wanted)
    if followed:
        return following.follow(settings, client, started)
    return following.accepted(settings, started, waited=wait is not None)


def _content(text: str) -> str:
    content = sys.stdin.read() if text == "-" else text
    if not content.strip():
        raise click.UsageError("The task is empty; write what is to be done.")
    return content


def ensure(
    client: Kheish, session: str | None, workspace: str | None, permission_mode: str | None, route: str | None = None
) -> str:
    """Make the session if it is missing (None: a new one), and return its id. `route` is for a new one only.

    Raises SessionConflict where an existing one has another workspace or mode.
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
