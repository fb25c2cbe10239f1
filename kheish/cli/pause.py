"""`kheish pause`, `kheish resume`: suspend and resume the work of the daemon, or of one route."""

from __future__ import annotations

import click

from kheish.cli.ids import Name
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit, say


@command()
@click.option("--route", type=Name("routes"), help="Only runs on this route.")
@pass_settings
def pause(settings: Settings, route: str | None) -> None:
    """Stop starting new steps; steps in flight finish, and submissions queue."""
    done = settings.client().pause(route)
    emit(settings, done, ids=[], human=lambda: say(f"Paused{_suffix(route)}; `kheish resume` continues."))


@command()
@click.option("--route", type=Name("routes"), help="Only runs on this route.")
@click.option("--takeover", is_flag=True, help="For a restored root: take over the backup remote.")
@pass_settings
def resume(settings: Settings, route: str | None, takeover: bool) -> None:
    """Resume after a pause."""
    done = settings.client().resume(route, takeover=takeover)
    emit(settings, done, ids=[], human=lambda: say(f"Resumed{_suffix(route)}."))


def _suffix(route: str | None) -> str:
    return f" (route {route})" if route else ""
