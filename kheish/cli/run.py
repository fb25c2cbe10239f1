"""`kheish run SESSION "text"`: give an agent a task, and optionally follow it."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.ids import Id, Name
from kheish.cli.options import Settings, command, exclusive, pass_settings
from kheish.texts import is_blank

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
@click.option("--skill", "skills", multiple=True, metavar="NAME", help="Begin with this skill; may be repeated.")
@click.option("--attach", "files", multiple=True, metavar="FILE", help="Attach this file; may be repeated.")
@click.option(
    "--reply-to",
    "targets",
    multiple=True,
    metavar="OUTPUT|JSON",
    help='Deliver its outputs there: a name, or {"output": NAME, …}; may be repeated.',
)
@click.option("--debug", type=click.Choice(["off", "redacted", "full"]), help="Capture its requests at this level.")
@click.option("--idempotency-key", metavar="KEY", help="Start at most one run per key; a key belongs to one task.")
@pass_settings
def run(settings: Settings, session: str, text: str, followed: bool, wait: str | None, no_create: bool,
        route: str | None, model: str | None, workspace: str | None, permission_mode: str | None,
        skills: tuple[str, ...], debug: str | None, files: tuple[str, ...], targets: tuple[str, ...],
        idempotency_key: str | None) -> int:  # fmt: skip
    """Give the agent of SESSION the task TEXT (`-`: stdin). A missing session is created."""
    from kheish.cli import follow
    from kheish.cli.followed import FollowedRun

    content = _content(text)
    exclusive(follow=followed, wait=wait)  # following waits for the end
    exclusive(no_create=no_create, workspace=workspace)
    exclusive(no_create=no_create, permission_mode=permission_mode)
    client = settings.client()
    if not no_create:
        ensure(client, session, workspace, permission_mode, route)
    choices: Any = {name: value for name, value in (("route", route), ("model", model)) if value}
    choices |= {"skills": list(skills)} if skills else {}
    choices |= {"reply_targets": [_target(one) for one in targets]} if targets else {}
    choices |= {"debug": debug} if debug else {}
    task: Any = {"items": _items(client, content, files)} if files else {"content": content}
    started = client.runs.start(session, idempotency_key=idempotency_key, wait=wait, **task, **choices)
    if followed:
        return follow.follow(settings, client, FollowedRun(started))
    return follow.accepted(settings, started, waited=wait is not None)


def _content(text: str) -> str:
    content = sys.stdin.read() if text == "-" else text
    if is_blank(content):
        raise click.UsageError("The task is empty.")
    return content


def _target(text: str) -> dict[str, Any]:
    """Return a reply target: a name stands for an output without an address."""
    if not text.startswith("{"):
        return {"output": text}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--reply-to: {text!r} is no JSON: {error}.") from error
    return dict(value)


def _items(client: Kheish, content: str, files: tuple[str, ...]) -> list[dict[str, str]]:
    """Store the files, and return the parts of the task."""
    from kheish.cli import assets

    stored = [assets.upload(client, file)["asset_id"] for file in files]
    return [{"type": "text", "text": content}, *({"type": "asset", "asset_id": id} for id in stored)]


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
