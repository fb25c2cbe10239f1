"""`kheish up [DIR]`: create a state root if it is missing, serve it, and open the console."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import click

from kheish.cli import asking
from kheish.cli.init import wanted
from kheish.cli.options import Settings, command, pass_settings

#: how long the daemon may take until it is ready, in seconds
_PATIENCE = 120.0


@command()
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--bind", metavar="HOST:PORT", help="The address to listen on (127.0.0.1:4000; port 0: any free port).")
@click.option("--workspace", metavar="DIR", type=click.Path(path_type=Path), help="The default workspace.")
@click.option(
    "--open/--no-open",
    "is_opened",
    default=None,
    help="Open the console in a browser (default: on a desktop's terminal).",
)
@pass_settings
def up(settings: Settings, folder: str | None, bind: str | None, workspace: Path | None, is_opened: bool | None) -> int:
    """Create a state root in DIR (default: ~/kheish-state) if it is missing, serve it in the foreground, and open the
    console."""
    from kheish.daemon import serve
    from kheish.store.git import template

    root = wanted(settings, folder)
    template.init(root)
    if is_opened or (is_opened is None and asking.can_ask()):
        threading.Thread(target=_open_console, args=(root, bool(is_opened)), daemon=True).start()
    return serve.run(root, bind=bind, workspace=workspace)


def _open_console(root: Path, is_asked: bool) -> None:
    """Wait until the daemon answers, then open a login link; without a desktop, print it."""
    import webbrowser

    from kheish.client.sync import Kheish
    from kheish.errors import KheishError

    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.3)
        try:
            link = Kheish(state_root=root).login.link()["url"]
        except KheishError:
            continue
        is_open = (is_asked or _has_desktop()) and webbrowser.open(link)
        click.echo("The console is open in a browser." if is_open else f"The console: {link}", err=True)
        return


def _has_desktop() -> bool:
    """Return whether a browser would open in a window, not in this terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
