"""`kheish pause`, `kheish resume`: start no new step for a while, of one route or at all."""

from __future__ import annotations

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import emit, say


@command()
@click.option("--route", type=Id("route"), help="Only what uses this route.")
@pass_settings
def pause(settings: Settings, route: str | None) -> None:
    """Start no new step; what is in flight finishes, submissions queue."""
    done = settings.client().pause(route)
    emit(settings, done, ids=[], human=lambda: say(f"Paused{_of(route)}; `kheish resume` goes on."))


@command()
@click.option("--route", type=Id("route"), help="Only what uses this route.")
@click.option("--takeover", is_flag=True, help="Of a restored root: the backup's remote is its own from now on.")
@pass_settings
def resume(settings: Settings, route: str | None, takeover: bool) -> None:
    """Go on after a pause."""
    done = settings.client().resume(route, takeover=takeover)
    emit(settings, done, ids=[], human=lambda: say(f"Going on{_of(route)}."))


def _of(route: str | None) -> str:
    return f" (route {route})" if route else ""
