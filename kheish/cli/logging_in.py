"""A login by OAuth on the command line: the page to open, and its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from kheish.cli.options import Settings
from kheish.cli.output import emit, plain, say

if TYPE_CHECKING:
    from kheish.client.shapes import McpLogin


def follow(settings: Settings, name: str, found: McpLogin, *, opens: bool, waits: bool) -> int:
    """Print the page of a login that was begun, wait for its end, and return the exit status."""
    if found["url"] is not None:
        click.echo(f"Open this page to log in at {name}:\n  {plain(found['url'])}", err=True)
        if opens:
            click.launch(found["url"])
    while waits and found["status"] == "waiting":
        time.sleep(0.5)
        found = settings.client().access.login(name)

    def human() -> None:
        words = {"done": "You are logged in at", "waiting": "The login waits at", "failed": "The login failed at"}
        say(plain(f"{words[found['status']]} {name}{': ' + found['reason'] if found['reason'] else ''}."))

    emit(settings, found, ids=[name], human=human)
    return 1 if found["status"] == "failed" else 0
